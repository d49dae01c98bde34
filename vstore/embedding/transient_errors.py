"""Errors of an embedding service that say nothing about the text: it is down, busy, or too slow.

An HTTP status decides where there is one. Clients raise classes of their own, which this package
does not import; they are known by name.
"""

from __future__ import annotations

import errno
from typing import Final

_CAUSES_MAX: Final = 8  # wrapped in each other
_RETRY_STATUSES: Final = frozenset({408, 425, 429})  # and all from 500 on
_STATUS_NAMES: Final = ("status_code", "http_status", "status", "code")
_NETWORK_ERRNOS: Final = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "ECONNREFUSED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETRESET",
        "ENETUNREACH",
        "ENOTCONN",
        "EPIPE",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
)
# Of the standard library, httpx, requests, urllib3, aiohttp, openai, anthropic, cohere, botocore
# and google.api_core.
_CLASS_NAMES: Final = frozenset(
    {
        "APIConnectionError",
        "APITimeoutError",
        "ClientConnectionError",
        "ConnectionError",
        "DeadlineExceeded",
        "HTTPClientError",
        "IncompleteRead",
        "InternalServerError",
        "NetworkError",
        "OverloadedError",
        "ProtocolError",
        "ProxyError",
        "RateLimitError",
        "RemoteDisconnected",
        "ResourceExhausted",
        "SSLError",
        "ServerDisconnectedError",
        "ServerTimeoutError",
        "ServiceUnavailable",
        "ServiceUnavailableError",
        "Timeout",
        "TimeoutError",
        "TimeoutException",
        "TooManyRequests",
        "TransportError",
        "URLError",
        "gaierror",
        "herror",
    }
)


def is_transient(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, is the service's and may pass by itself."""
    seen: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if seen is None:
            break
        status = _http_status(seen)
        if status is not None:
            return status in _RETRY_STATUSES or status >= 500
        if isinstance(seen, ConnectionError | TimeoutError):
            return True
        if isinstance(seen, OSError) and seen.errno in _NETWORK_ERRNOS:
            return True
        if any(kind.__name__ in _CLASS_NAMES for kind in type(seen).__mro__):
            return True
        seen = seen.__cause__
    return False


def _http_status(error: BaseException) -> int | None:
    for holder in (error, _attribute(error, "response")):
        for name in _STATUS_NAMES:
            value = _attribute(holder, name)
            if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
                return value
    return None


def _attribute(holder: object, name: str) -> object:
    try:
        return getattr(holder, name, None)
    except Exception:  # a property of somebody else's class
        return None
