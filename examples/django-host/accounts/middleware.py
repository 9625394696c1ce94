"""What humanuser refuses, as an answer to the browser."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

from humanuser import DomainError, LimitReached


class RefusalsAreTold:
    """Answers what is refused in a view, after the view's transaction has been rolled back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, _: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The answer; None: it is no refusal, and Django's to answer."""
        if not isinstance(exception, DomainError):
            return None
        return JsonResponse({"refused": str(exception)}, status=429 if isinstance(exception, LimitReached) else 400)
