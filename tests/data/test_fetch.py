import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from finetuner.data import fetch as module
from finetuner.data.fetch import fetch, is_public
from finetuner.errors import DataError


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith('/to/'):
            self.send_response(302)
            self.send_header('Location', self.path.removeprefix('/to/'))
            self.end_headers()
            return
        if self.path == '/slow':
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(20):
                    self.wfile.write(b'.')
                    time.sleep(0.1)
            except OSError:
                pass
            return
        found = {'/a.txt': b'hello', '/big': b'x' * 5000}.get(self.path)
        self.send_response(404 if found is None else 200)
        self.end_headers()
        self.wfile.write(found or b'')

    def log_message(self, *args):
        pass


@pytest.fixture(scope='module')
def server():
    found = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=found.serve_forever, args=(0.02,))
    thread.start()
    yield f'http://127.0.0.1:{found.server_port}'
    found.shutdown()
    thread.join()
    found.server_close()


def test_a_page_is_fetched_also_by_a_detour(server):
    assert fetch(f'{server}/a.txt', private=True) == b'hello'
    assert fetch(f'{server}/to/{server}/a.txt', private=True) == b'hello'


@pytest.mark.parametrize(
    ('path', 'options', 'reason'),
    [
        ('/a.txt', {'private': False}, r'127\.0\.0\.1 is no public address'),
        ('/none', {}, 'the server says 404'),
        ('/big', {'most': 4999}, 'more than 4,999 bytes'),
        ('/slow', {'seconds': 0.3}, 'longer than 0.3 seconds|timed out'),
        ('/to/file:///etc/passwd', {}, 'only http and https are'),
        ('/to/ftp://example.org/x', {}, 'only http and https are'),
    ],
)
def test_limits(server, path, options, reason):
    start = time.monotonic()
    with pytest.raises(DataError, match=reason):
        fetch(server + path, **{'private': True, **options})
    assert time.monotonic() - start < 2


def test_redirects_without_end(server):
    with pytest.raises(DataError, match=r'more than 3 redirects'):
        fetch(f'{server}/to//to//to//to//to//to/x', private=True)


def test_a_redirect_into_the_network_is_refused(server, monkeypatch):
    monkeypatch.setattr(module, 'is_public', lambda address: address == '127.0.0.1')
    assert fetch(f'{server}/a.txt') == b'hello'
    with pytest.raises(DataError, match=r'169\.254\.169\.254 is no public address'):
        fetch(f'{server}/to/http://169.254.169.254/latest/meta-data')


@pytest.mark.parametrize(
    ('address', 'public'),
    [
        ('8.8.8.8', True),
        ('2001:4860:4860::8888', True),
        ('127.0.0.1', False),
        ('10.1.2.3', False),
        ('172.16.0.1', False),
        ('192.168.1.1', False),
        ('169.254.169.254', False),
        ('100.64.0.1', False),
        ('0.0.0.0', False),
        ('224.0.0.1', False),
        ('::1', False),
        ('fe80::1%eth0', False),
        ('fd00::1', False),
        ('::ffff:127.0.0.1', False),
        ('64:ff9b::7f00:1', False),
        ('2002:7f00:1::', False),
    ],
)
def test_which_addresses_are_public(address, public):
    assert is_public(address) is public
