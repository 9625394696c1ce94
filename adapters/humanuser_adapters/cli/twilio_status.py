"""Where Twilio tells what became of an SMS."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from humanuser import Accepted, Permanent
from humanuser_adapters.api import CallError, Code, read_body
from humanuser_adapters.settings import Settings, SmsChoice
from humanuser_adapters.sms import read_twilio_callback


def twilio_routes(settings: Settings, report: Callable[[str, Accepted | Permanent], object]) -> list[Route]:
    """The route of ``twilio_status_url``, that gives *report* an SMS's id and what came of it; none without Twilio."""
    url, token = settings.twilio_status_url, settings.twilio_auth_token
    if not url or not token or SmsChoice.TWILIO not in (settings.sms, settings.sms_fallback):
        return []

    async def endpoint(request: Request) -> Response:
        body = await read_body(request.receive)
        told = read_twilio_callback(
            f"{url.partition('?')[0]}?{request.url.query}",  # as Twilio called it, whatever a proxy made of that
            body,
            request.headers.get("x-twilio-signature", ""),
            auth_token=token.get_secret_value(),
        )
        if told is None:
            raise CallError(Code.PERMISSION_DENIED, "only Twilio may tell what became of an SMS")
        if told.outcome is not None:
            await run_in_threadpool(report, told.message_id, told.outcome)
        return Response(status_code=204)

    return [Route(urlsplit(url).path or "/", endpoint, methods=["POST"])]
