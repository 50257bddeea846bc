"""The client: one per application, shared by its threads."""

from __future__ import annotations

from types import TracebackType
from urllib.parse import quote

from countinghouse.access import Access, AccessOptions, Seats
from countinghouse.calls import Calls
from countinghouse.transport import Transport
from countinghouse.usage import TIMEOUT, Usage, UsageOptions


class Client:
    """Talks to one Countinghouse with one API key.

    `client.usage` tracks usage, `client.access` asks what may be used and sets amounts aside,
    `client.seats` asks who may come in, each as its options say; `client.licence()` fetches the
    licence that holds. `timeout` is what one request may take, in seconds. Nothing is sent and no
    thread starts before something is tracked or asked. Raises ValueError for an address that is
    none. Usable as a context manager, which closes it.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        timeout: float = TIMEOUT,
        usage: UsageOptions | None = None,
        access: AccessOptions | None = None,
    ) -> None:
        self.usage = Usage(Transport(api_key, base_url, timeout=timeout), usage or UsageOptions())
        # A connection of its own: who asks must not wait for a batch of events.
        self._asking = Transport(api_key, base_url, timeout=timeout)
        self._calls = Calls(self._asking)
        self.access = Access(self._calls, access or AccessOptions())
        self.seats = Seats(self._calls, access or AccessOptions())

    def licence(self, organization: str, *, instance: str = "", application: str = "") -> str:
        """Fetch the token of the licence that holds; ask once a day, and there is a good one.

        Raises Refused (`not_licensed`, …), ConnectionFailed, UnexpectedAnswer.
        """
        asked = {"instance": instance, "application": application}
        query = {name: value for name, value in asked.items() if value}
        path = f"/api/v1/organizations/{quote(organization, safe='')}/licence"
        return str(self._calls.get(path, query)["token"])

    def close(self, timeout: float = TIMEOUT) -> bool:
        """Send what waits, for at most `timeout` seconds, and stop; tell whether all was sent."""
        self._asking.close()
        return self.usage.close(timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
