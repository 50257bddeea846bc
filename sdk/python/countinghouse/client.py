"""The client: one per application, shared by its threads."""

from __future__ import annotations

from types import TracebackType

from countinghouse.transport import Transport
from countinghouse.usage import TIMEOUT, Usage, UsageOptions


class Client:
    """Talks to one Countinghouse with one API key.

    `client.usage` tracks usage, as its options say. `timeout` is what one request may take, in
    seconds. Nothing is sent and no thread starts before something is tracked. Raises ValueError
    for an address that is none. Usable as a context manager, which closes it.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        timeout: float = TIMEOUT,
        usage: UsageOptions | None = None,
    ) -> None:
        transport = Transport(api_key, base_url, timeout=timeout)
        self.usage = Usage(transport, usage or UsageOptions())

    def close(self, timeout: float = TIMEOUT) -> bool:
        """Send what waits, for at most `timeout` seconds, and stop; tell whether all was sent."""
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
