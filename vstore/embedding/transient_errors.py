"""Errors of an embedding service that say nothing about the text: it is down, busy, or too slow.

An HTTP status decides where there is one. Clients raise classes of their own, which this package
does not import; they are known by name.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

_CAUSES_MAX: Final = 8  # wrapped in each other
_RETRY_STATUSES: Final = frozenset({408, 425, 429})  # and all from 500 on
# Codes of cloud services, some of which come with status 400.
_BUSY_CODES: Final = frozenset(
    {
        "ModelNotReadyException",
        "ModelTimeoutException",
        "ProvisionedThroughputExceededException",
        "RequestTimeout",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
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
        if _busy_code(seen):
            return True
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


def _busy_code(error: BaseException) -> bool:
    """Whether a response as botocore keeps it, a mapping, says that the service is busy."""
    return _entry(_attribute(error, "response"), "Error", "Code") in _BUSY_CODES


def _entry(mapping: object, *names: str) -> object:
    for name in names:
        mapping = mapping.get(name) if isinstance(mapping, Mapping) else None
    return mapping if isinstance(mapping, str | int) else None


def _http_status(error: BaseException) -> int | None:
    response = _attribute(error, "response")
    found = [_entry(response, "ResponseMetadata", "HTTPStatusCode")]
    for holder in (error, response):
        for value in (*found, *(_attribute(holder, name) for name in _STATUS_NAMES)):
            if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
                return value
    return None


def _attribute(holder: object, name: str) -> object:
    try:
        return getattr(holder, name, None)
    except Exception:  # a property of somebody else's class
        return None
