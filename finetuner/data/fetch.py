"""Fetches a URL within limits: of time, of size, and never from inside the network.

The address is looked up once, checked, and connected to, so that a name cannot point elsewhere a moment later;
redirects go through the same check. Proxies are not used.
"""

import ipaddress
import socket
import ssl
from http.client import HTTPConnection, HTTPException
from time import monotonic
from urllib.parse import urljoin, urlsplit

from finetuner.errors import DataError

SECONDS = 20.0
BYTES = 64 * 2**20
_REDIRECTS = 3
_NAT64 = ipaddress.ip_network('64:ff9b::/96')


class _Connection(HTTPConnection):
    def __init__(self, scheme: str, host: str, port: int, address: str, seconds: float) -> None:
        super().__init__(host, port, timeout=seconds)
        self.scheme, self.address = scheme, address

    def connect(self) -> None:
        plain = socket.create_connection((self.address, self.port), self.timeout)
        tls = ssl.create_default_context() if self.scheme == 'https' else None
        self.sock = tls.wrap_socket(plain, server_hostname=self.host) if tls else plain


def fetch(url: str, *, seconds: float = SECONDS, most: int = BYTES, private: bool = False) -> bytes:
    """What stands at a URL.

    Args:
        url: http or https.
        seconds: how long it may take altogether.
        most: how many bytes it may have.
        private: whether addresses inside the network are allowed.

    Raises:
        DataError: it cannot be had within these limits; says why.
    """
    end = monotonic() + seconds
    for _ in range(1 + _REDIRECTS):
        parts = urlsplit(url)
        if parts.scheme not in ('http', 'https') or not parts.hostname:
            raise DataError(f'Cannot fetch {url}: only http and https are.')
        port = parts.port or {'http': 80, 'https': 443}[parts.scheme]
        address = _address(parts.hostname, port, private)
        connection = _Connection(parts.scheme, parts.hostname, port, address, max(end - monotonic(), 0.01))
        try:
            path = (parts.path or '/') + (f'?{parts.query}' if parts.query else '')
            connection.request('GET', path, headers={'User-Agent': 'finetuner'})
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308) and response.getheader('Location'):
                url = urljoin(url, response.getheader('Location') or '')
                continue
            if response.status != 200:
                raise DataError(f'Cannot fetch {url}: the server says {response.status} {response.reason}.')
            body = b''
            while chunk := response.read1(2**16):
                body += chunk
                if len(body) > most:
                    raise DataError(f'Cannot fetch {url}: it has more than {most:,} bytes.')
                if monotonic() > end:
                    raise DataError(f'Cannot fetch {url}: it takes longer than {seconds:g} seconds.')
            return body
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f'Cannot fetch {url}: {type(error).__name__}: {error}') from error
        finally:
            connection.close()
    raise DataError(f'Cannot fetch {url}: there are more than {_REDIRECTS} redirects.')


def _address(host: str, port: int, private: bool) -> str:
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise DataError(f'Cannot fetch from {host}: {error}') from error
    for address in sorted(found):
        if not private and not is_public(address):
            raise DataError(f'Cannot fetch from {host}: {address} is no public address.')
    return sorted(found, key=lambda address: ':' in address)[0]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also when it is an IPv4 address in the form of IPv6."""
    ip = ipaddress.ip_address(address.partition('%')[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 2**32 - 1) if ip in _NAT64 else None)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast
