"""SMS through Twilio: what is asked of it, and what its answers mean."""

from __future__ import annotations

import base64
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from fakes import FakeClock
from humanuser import (
    Accepted,
    Misconfigured,
    Permanent,
    PhoneNumber,
    Retryable,
    Sms,
    SmsOutcome,
    SmsSender,
    Unknown,
    VerificationCode,
)
from humanuser.testing import AT, Received, SmsSenderContract
from humanuser_adapters.sms import Endpoint, TwilioSms
from humanuser_adapters.sms.twilio import REMEMBERED
from humanuser_adapters.sms.twilio_errors import MISCONFIGURED, PERMANENT, RETRYABLE
from twilio_api import ACCOUNT, SERVICE, TOKEN, Twilio
from web import (
    SHORT,
    Behaviour,
    Request,
    WebServer,
    answers,
    head,
    in_turn,
    keeps_silent,
    resets_after,
    served,
    unused_port,
    writes,
    writes_slowly,
)

FROM = "+15005550006"
CODE = "271828"
SID = "SM0123456789abcdef0123456789abcdef"


def an_sms(
    message_id: str = "message1",
    text: str = f"{CODE} is your code",
    *,
    to: str = "+41791234567",
    expires_in: timedelta | None = timedelta(minutes=10),
) -> Sms:
    return Sms(
        message_id=message_id,
        to=PhoneNumber(to),
        text=text,
        expires_at=None if expires_in is None else AT + expires_in,
        code=VerificationCode(CODE),
    )


@pytest.fixture
def twilio(clock: FakeClock) -> Twilio:
    return Twilio(clock)


@pytest.fixture
def server(twilio: Twilio) -> Iterator[WebServer]:
    with served(twilio) as server:
        yield server


def sender_to(server: WebServer, clock: Callable[[], datetime] = lambda: AT, **more: Any) -> TwilioSms:
    timeout = more.pop("timeout", timedelta(seconds=8))
    sender = more.pop("sender", FROM)
    return TwilioSms(ACCOUNT, TOKEN, sender, clock, endpoint=server.endpoint(timeout=timeout), **more)


def outcome_of(behaviour: Behaviour, **more: Any) -> SmsOutcome:
    """What comes of an SMS to a server with that *behaviour*."""
    with served(behaviour) as server:
        return sender_to(server, **more).send(an_sms())


def found_by(behaviour: Behaviour, **more: Any) -> object:
    with served(behaviour) as server:
        return sender_to(server, **more).look_up(an_sms())


class _Contract(SmsSenderContract):
    redact: bool

    @pytest.fixture(autouse=True)
    def _server(self, twilio: Twilio, server: WebServer) -> None:
        self.twilio = twilio
        self.server = server

    def create_sender(self) -> SmsSender:
        return sender_to(self.server, redact=self.redact)

    def received(self, sender: SmsSender) -> Sequence[Received]:  # noqa: ARG002 - the counterpart is the server
        return [(None, message["form"]["To"], message["form"]["Body"]) for message in reversed(self.twilio.messages)]


class TestTwilioSms(_Contract):
    redact = True

    def create_broken_sender(self) -> SmsSender:
        endpoint = Endpoint(f"http://localhost:{unused_port()}", allow_http=True, allow_private=True)
        return TwilioSms(ACCOUNT, TOKEN, FROM, lambda: AT, endpoint=endpoint)


class TestTwilioSmsThatKeepsTexts(_Contract):
    redact = False

    def create_broken_sender(self) -> SmsSender:
        echo = {"sid": an_sms().to.e164, "code": CODE, "message": f"{CODE} for {an_sms().to.e164}"}
        self.server.behaviour = answers(400, echo)
        return sender_to(self.server)


class TestRequest:
    def test_it_is_one_form_with_the_account_and_its_token(self, server: WebServer) -> None:
        sender_to(server).send(an_sms())

        (request,) = server.requests
        credentials = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        assert (request.method, request.target) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
        assert request.headers["authorization"] == f"Basic {credentials}"
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert dict(parse_qsl(request.body.decode())) == {
            "To": "+41791234567",
            "From": FROM,
            "Body": f"{CODE} is your code",
            "ContentRetention": "discard",
            "AddressRetention": "obfuscate",
            "ValidityPeriod": "600",
        }

    def test_a_messaging_service_is_named_as_one(self, server: WebServer, twilio: Twilio) -> None:
        sender_to(server, sender=SERVICE).send(an_sms())

        form = twilio.messages[0]["form"]
        assert form["MessagingServiceSid"] == SERVICE
        assert "From" not in form

    @pytest.mark.parametrize("sender", ["Acme", "MGM", "12345"])
    def test_a_name_or_a_short_number_is_a_sender(self, server: WebServer, twilio: Twilio, sender: str) -> None:
        sender_to(server, sender=sender).send(an_sms())

        assert twilio.messages[0]["form"]["From"] == sender

    @pytest.mark.parametrize(
        ("expires_in", "period"),
        [
            (timedelta(minutes=10), "600"),
            (timedelta(seconds=9.9), "9"),
            (timedelta(seconds=1), "1"),
            (timedelta(0), "1"),
            (timedelta(seconds=-30), "1"),
            (timedelta(hours=10), "36000"),
            (timedelta(days=9), "36000"),
            (None, None),
        ],
    )
    def test_an_sms_is_worth_nothing_after_its_code(
        self, server: WebServer, twilio: Twilio, expires_in: timedelta | None, period: str | None
    ) -> None:
        sender_to(server).send(an_sms(expires_in=expires_in))

        assert twilio.messages[0]["form"].get("ValidityPeriod") == period

    def test_what_twilio_keeps_is_left_to_the_account_if_wanted(self, server: WebServer, twilio: Twilio) -> None:
        sender_to(server, redact=False).send(an_sms())

        assert not {"ContentRetention", "AddressRetention"} & twilio.messages[0]["form"].keys()

    def test_the_status_is_told_to_a_url_that_has_the_message_id(self, server: WebServer, twilio: Twilio) -> None:
        sender_to(server, status_callback="https://example.com/status?a=b").send(an_sms("id &1"))

        assert twilio.messages[0]["form"]["StatusCallback"] == "https://example.com/status?a=b&message_id=id%20%261"

    @pytest.mark.parametrize(
        ("account", "token", "sender"),
        [("", TOKEN, FROM), (TOKEN, ACCOUNT, FROM), (ACCOUNT, "", FROM), (ACCOUNT, TOKEN, "")],
    )
    def test_an_account_that_is_none_is_refused_at_the_start(self, account: str, token: str, sender: str) -> None:
        with pytest.raises(ValueError, match=r"SID|empty") as error:
            TwilioSms(account, token, sender, lambda: AT)

        assert TOKEN not in str(error.value)


class TestAnswers:
    """The outcomes, row by row."""

    def test_a_message_that_was_made_is_accepted_under_its_sid(self) -> None:
        assert outcome_of(answers(201, {"sid": SID, "status": "queued"})) == Accepted(SID)

    @pytest.mark.parametrize("code", [21211, 21408, 21610, 21612, 21614])
    @pytest.mark.parametrize("status", [400, 403, 429, 500])
    def test_a_number_that_takes_no_sms_is_permanent(self, code: int, status: int) -> None:
        outcome = outcome_of(answers(status, {"code": code, "status": status}))

        assert outcome == Permanent(f"Twilio answered {status} with error {code}")

    @pytest.mark.parametrize("code", [20003, 21212, 21606, 21608, 21659, 21660, 21661, 30029, 30030])
    @pytest.mark.parametrize("status", [400, 401, 500])
    def test_a_sender_or_an_account_that_may_not_send_is_misconfigured(self, code: int, status: int) -> None:
        outcome = outcome_of(answers(status, {"code": code, "status": status}))

        assert outcome == Misconfigured(f"Twilio answered {status} with error {code}")

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_login_that_is_refused_is_misconfigured(self, status: int) -> None:
        assert outcome_of(answers(status)) == Misconfigured(f"Twilio answered {status}")

    @pytest.mark.parametrize("status", [301, 302, 307, 308, 300, 304])
    def test_a_redirect_is_misconfigured_and_not_followed(self, status: int) -> None:
        with served(answers(201, {"sid": SID})) as elsewhere:
            outcome = outcome_of(answers(status, Location=elsewhere.url))

            assert outcome == Misconfigured(f"Twilio answered {status}")
            assert elsewhere.connections == 0

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
    def test_a_server_that_is_busy_or_broken_is_tried_again(self, status: int) -> None:
        assert outcome_of(answers(status, b"<html>")) == Retryable(f"Twilio answered {status}")

    @pytest.mark.parametrize("status", [400, 429])
    def test_too_many_requests_by_twilios_own_code_are_tried_again(self, status: int) -> None:
        outcome = outcome_of(answers(status, {"code": 20429}, retry_after="7"))

        assert outcome == Retryable(f"Twilio answered {status} with error 20429", timedelta(seconds=7))

    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize("wait", ["30", format_datetime(AT + timedelta(seconds=30), usegmt=True)])
    def test_it_is_tried_again_when_twilio_says(self, status: int, wait: str) -> None:
        outcome = outcome_of(answers(status, retry_after=wait))

        assert outcome == Retryable(f"Twilio answered {status}", timedelta(seconds=30))

    @pytest.mark.parametrize("status", [400, 402, 404, 405, 409, 410, 413, 422, 451])
    def test_a_text_that_twilio_refuses_is_permanent_whatever_the_status(self, status: int) -> None:
        assert outcome_of(answers(status, {"code": 21602})) == Permanent(f"Twilio answered {status} with error 21602")

    @pytest.mark.parametrize("status", [400, 402, 404, 405, 409, 410, 413, 422, 451])
    @pytest.mark.parametrize("body", [b"<html>", {"code": 21999}], ids=["no code", "a code of tomorrow"])
    def test_a_refusal_that_does_not_blame_the_number_waits_for_the_operator(self, status: int, body: object) -> None:
        assert isinstance(outcome_of(answers(status, body)), Misconfigured)

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_an_unknown_code_of_a_broken_server_is_tried_again(self, status: int) -> None:
        assert isinstance(outcome_of(answers(status, {"code": 21999})), Retryable)

    @pytest.mark.parametrize(
        ("codes", "kind"),
        [
            ({21211, 21265, 21268, 21408, 21610, 21612, 21614, 21617, 21635, 30003, 30005, 30006}, Permanent),
            ({14107, 20429, 20503, 21611, 30001, 30022, 30027}, Retryable),
            (
                {20003, 20005, 20006, 20008, 20403, 20404, 21212, 21470, 21471, 21472, 21603, 21606, 21608, 21609}
                | {21620, 21656, 21657, 21659, 21660, 21661, 21701, 21702, 21703, 21704, 21705, 21709, 21910}
                | {30002, 30024, 30032, 30033, 30034, 30035, 30037, 30040, 30041, 30042, 63007, 63038},
                Misconfigured,
            ),
        ],
        ids=["number", "moment", "account, sender or request"],
    )
    def test_each_code_of_twilios_list_means_what_its_page_says(self, codes: set[int], kind: type) -> None:
        current = [0]

        def refuses(request: Request, connection: socket.socket) -> None:
            answers(400, {"code": current[0]})(request, connection)

        with served(refuses) as server:
            sender = sender_to(server)
            for current[0] in sorted(codes):
                assert isinstance(sender.send(an_sms()), kind), current[0]

    def test_no_code_is_in_two_tables(self) -> None:
        tables = (PERMANENT, RETRYABLE, MISCONFIGURED)

        assert len(set().union(*tables)) == sum(map(len, tables))


class TestSilence:
    """The request may have arrived, so nobody repeats it."""

    def test_a_connection_that_is_refused_is_tried_again(self) -> None:
        endpoint = Endpoint(f"http://localhost:{unused_port()}", allow_http=True, allow_private=True)

        outcome = TwilioSms(ACCOUNT, TOKEN, FROM, lambda: AT, endpoint=endpoint).send(an_sms())

        assert outcome == Retryable("Twilio cannot be reached: it refuses connections")

    def test_an_address_inside_is_misconfigured(self, server: WebServer) -> None:
        endpoint = server.endpoint(allow_private=False)

        outcome = TwilioSms(ACCOUNT, TOKEN, FROM, lambda: AT, endpoint=endpoint).send(an_sms())

        assert outcome == Misconfigured("Twilio cannot be called: its address is not on the public internet")
        assert server.connections == 0

    @pytest.mark.parametrize(
        "behaviour",
        [keeps_silent, resets_after(), writes(b""), writes(b"nonsense\r\n"), writes_slowly(head(201, X_Long="x" * 99))],
        ids=["silence", "reset", "closed", "nonsense", "slow"],
    )
    def test_no_answer_is_unknown(self, behaviour: Behaviour) -> None:
        outcome = outcome_of(behaviour, timeout=SHORT)

        assert isinstance(outcome, Unknown)
        assert outcome.reason.startswith("Twilio did not answer: ")

    @pytest.mark.parametrize(
        "behaviour",
        [
            resets_after(head(201, Content_Length="500") + b'{"sid": "SM'),
            writes(head(201, Content_Length="500") + b'{"sid": "SM'),
            writes_slowly(b'{"sid": "SM' * 99, first=head(201, Content_Length="1000")),
            answers(201, b'{"sid": "' + b"x" * 10_000_000 + b'"}'),
            answers(201, b"<html>welcome to the hotel's network</html>"),
            answers(200, {"error": "no"}),
            answers(200, {"code": 21211, "status": 400}),
            answers(200, []),
            answers(200, b"[" * 60_000),
            answers(204),
            answers(201, {"sid": 7}),
            answers(201, {"sid": "SM\r\nX: y"}),
        ],
        ids=["reset", "cut", "slow", "10MB", "html", "error", "code", "list", "deep", "empty", "number", "lines"],
    )
    def test_a_success_without_a_message_is_unknown(self, behaviour: Behaviour) -> None:
        outcome = outcome_of(behaviour, timeout=SHORT)

        assert isinstance(outcome, Unknown)

    def test_a_body_of_10_mb_does_not_take_long(self) -> None:
        began = time.monotonic()

        outcome = outcome_of(answers(429, b"x" * 10_000_000, retry_after="7"))

        assert outcome == Retryable("Twilio answered 429", timedelta(seconds=7))
        assert time.monotonic() - began < 2


class TestLies:
    @pytest.mark.parametrize(
        ("code", "outcome"),
        [(21610, Permanent), (30007, Permanent), (None, Permanent), (21606, Misconfigured), (20429, Retryable)],
    )
    def test_a_message_that_failed_at_once_is_not_accepted(self, code: int | None, outcome: type) -> None:
        created = {"sid": SID, "status": "failed", "error_code": code}

        assert isinstance(outcome_of(answers(201, created)), outcome)

    def test_an_error_after_the_message_was_taken_repeats_the_same_text(
        self, server: WebServer, twilio: Twilio
    ) -> None:
        def takes_and_breaks(request: Request, connection: socket.socket) -> None:
            twilio.create(dict(parse_qsl(request.body.decode())))
            answers(500)(request, connection)

        server.behaviour = in_turn([takes_and_breaks, twilio])
        sender = sender_to(server)

        outcomes = [sender.send(an_sms()) for _ in range(2)]

        assert outcomes[0] == Retryable("Twilio answered 500")
        assert isinstance(outcomes[1], Accepted)
        assert len({message["body"] for message in twilio.messages}) == 1

    @pytest.mark.parametrize(
        "code", [CODE, "41791234567", '"41791234567"', "9" * 5000, "-21211", "true", "null", "[21211]"]
    )
    def test_a_code_that_is_none_is_not_told(self, code: str) -> None:
        assert outcome_of(answers(400, f'{{"code": {code}}}'.encode())) == Misconfigured("Twilio answered 400")


class TestLookUp:
    """After an interruption Twilio is asked before anything is repeated."""

    @pytest.mark.parametrize("redact", [True, False])
    def test_an_sms_that_arrived_is_found_by_another_process(
        self,
        server: WebServer,
        twilio: Twilio,
        redact: bool,
    ) -> None:
        sender_to(server, redact=redact).send(an_sms())

        assert sender_to(server).look_up(an_sms()) == Accepted(twilio.messages[0]["sid"])
        assert len(twilio.messages) == 1

    def test_it_asks_for_the_number_and_the_day(self, server: WebServer) -> None:
        sender_to(server).look_up(an_sms(expires_in=-timedelta(hours=12, minutes=-10)))

        (request,) = server.requests
        assert request.method == "GET"
        assert parse_qs(urlsplit(request.target).query) == {
            "To": ["+41791234567"],
            "DateSent>": ["2026-05-09T00:00:00Z"],
            "PageSize": ["20"],
        }

    def test_what_never_arrived_is_not_found(self, server: WebServer) -> None:
        assert sender_to(server).look_up(an_sms()) is None

    def test_an_sms_to_another_number_is_not_it(self, server: WebServer) -> None:
        sender = sender_to(server)
        sender.send(an_sms(to="+41791234568"))

        assert sender_to(server).look_up(an_sms()) is None

    def test_an_sms_with_another_text_is_not_it(self, server: WebServer) -> None:
        sender_to(server, redact=False).send(an_sms(text="314159 is your code"))

        assert sender_to(server).look_up(an_sms()) is None

    def test_an_sms_of_before_the_code_is_not_it(self, server: WebServer, clock: FakeClock) -> None:
        sender_to(server, clock).send(an_sms())
        clock.advance(seconds=30)
        newer = an_sms("message2", expires_in=timedelta(minutes=10, seconds=30))

        assert sender_to(server, clock).look_up(newer) is None
        assert isinstance(sender_to(server, clock).look_up(an_sms()), Accepted)

    def test_the_time_of_a_code_is_as_long_as_the_policy_says(self, server: WebServer, clock: FakeClock) -> None:
        sender_to(server, clock).send(an_sms())
        later = an_sms(expires_in=timedelta(minutes=59))

        assert sender_to(server, clock).look_up(later) is None
        assert isinstance(sender_to(server, clock, code_lifetime=timedelta(hours=1)).look_up(later), Accepted)

    def test_a_code_that_never_expires_is_looked_for_from_now_back(self, server: WebServer, clock: FakeClock) -> None:
        sender_to(server, clock).send(an_sms(expires_in=None))

        clock.advance(minutes=9)
        early = sender_to(server, clock).look_up(an_sms(expires_in=None))
        clock.advance(minutes=2)

        assert isinstance(early, Accepted)
        assert sender_to(server, clock).look_up(an_sms(expires_in=None)) is None

    def test_a_clock_of_twilios_that_is_a_little_behind_does_no_harm(
        self, server: WebServer, twilio: Twilio, clock: FakeClock
    ) -> None:
        twilio.clock = lambda: AT - timedelta(seconds=4)
        sender_to(server, clock).send(an_sms())

        assert isinstance(sender_to(server, clock).look_up(an_sms()), Accepted)

    @pytest.mark.parametrize("status", ["failed", "undelivered", "canceled"])
    def test_an_sms_that_failed_may_be_repeated(self, server: WebServer, twilio: Twilio, status: str) -> None:
        sender_to(server).send(an_sms())
        twilio.messages[0]["status"] = status

        assert sender_to(server).look_up(an_sms()) is None

    def test_an_sms_known_to_be_another_is_not_it(self, server: WebServer) -> None:
        sender = sender_to(server)
        sender.send(an_sms("message0"))

        assert sender.look_up(an_sms()) is None
        assert isinstance(sender.look_up(an_sms("message0")), Accepted)

    def test_what_is_remembered_of_others_is_bounded(self, server: WebServer) -> None:
        created = iter(range(REMEMBERED + 1))

        def creates(request: Request, connection: socket.socket) -> None:
            answers(201, {"sid": f"SM{next(created):032x}"})(request, connection)

        server.behaviour = creates
        sender = sender_to(server)
        for number in range(REMEMBERED + 1):
            assert sender.send(an_sms(f"other{number}")) == Accepted(f"SM{number:032x}")

        def lists(number: int) -> Behaviour:
            return answers(200, {"messages": [_listed(sid=f"SM{number:032x}")]})

        server.behaviour = lists(0)
        forgotten = sender.look_up(an_sms())
        server.behaviour = lists(1)

        assert isinstance(forgotten, Accepted)
        assert sender.look_up(an_sms()) is None

    def test_it_does_not_turn_pages(self) -> None:
        others = [_listed(body="another text") for _ in range(20)]

        assert isinstance(found_by(answers(200, {"messages": others, "next_page_uri": "/next"})), Unknown)

    def test_pages_of_before_the_code_do_not_matter(self) -> None:
        others = [_listed(body="another text"), _listed(date_created=format_datetime(AT - timedelta(hours=1)))]

        assert found_by(answers(200, {"messages": others, "next_page_uri": "/next"})) is None

    @pytest.mark.parametrize(
        "behaviour",
        [
            keeps_silent,
            resets_after(),
            answers(401, {"code": 20003}),
            answers(404),
            answers(429, retry_after="1"),
            answers(500),
            answers(302, Location="https://example.com"),
            answers(200, b"<html>"),
            answers(200, b"[" * 60_000),
            answers(200, {"messages": None}),
            answers(200, {"messages": [{"sid": SID}]}),
            answers(200, {"messages": [], "filler": "x" * 10_000_000}),
            writes_slowly(b"x" * 99, first=head(200)),
        ],
        ids=["silence", "reset", "401", "404", "429", "500", "302", "html", "deep", "none", "half", "10MB", "slow"],
    )
    def test_where_twilio_cannot_be_asked_nobody_knows(self, behaviour: Behaviour) -> None:
        found = found_by(behaviour, timeout=SHORT)

        assert isinstance(found, Unknown)
        assert found.reason.startswith("Twilio cannot be asked: ")

    @pytest.mark.parametrize("date", [None, 7, "", "yesterday", "2026-05-10", "Sun, 99 May 2026 12:00:00 +0000"])
    def test_a_list_whose_times_cannot_be_read_says_nothing(self, date: object) -> None:
        assert isinstance(found_by(answers(200, {"messages": [_listed(date_created=date)]})), Unknown)


def _listed(**more: Any) -> dict[str, Any]:
    message = {"sid": SID, "to": "+41791234567", "body": "", "status": "sent", "date_created": format_datetime(AT)}
    return {**message, **more}


class TestSecrets:
    @pytest.mark.parametrize(
        "behaviour",
        [
            Twilio(),
            keeps_silent,
            resets_after(),
            answers(401, {"code": 20003, "message": TOKEN}),
            answers(400, {"code": 21211, "message": f"+41791234567 {CODE}", "more_info": TOKEN}),
            answers(500, TOKEN.encode(), retry_after=TOKEN),
            answers(201, {"sid": TOKEN, "status": CODE}),
        ],
        ids=["taken", "silence", "reset", "401", "400", "500", "lie"],
    )
    def test_they_are_in_no_outcome_no_repr_and_no_log(
        self, behaviour: Behaviour, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG), served(behaviour) as server:
            sender = sender_to(server, timeout=SHORT)
            told = [repr(sender), str(sender), repr(sender.send(an_sms())), repr(sender.look_up(an_sms()))]

        credentials = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        for secret in (TOKEN, credentials, CODE, "41791234567"):
            assert secret not in " ".join(told)
            assert secret not in caplog.text
