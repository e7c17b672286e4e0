"""A socket, and what becomes of each request that comes in there."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from .faults import Answer
from .request import Request, failure

if TYPE_CHECKING:
    from .server import Server

_PIECES = 8


class Listener(ThreadingHTTPServer):
    """``serve`` answers requests to paths below ``begin`` (and gets the rest of them)."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, server: Server, begin: str, serve: Callable[[Request, str], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stand_in = server
        self.begin = begin
        self.serve = serve

    def answer(self, request: Request) -> Answer:
        """With the faults that are due: before the request is handled, or with the answer."""
        rules = self.stand_in.faults.hit(request.method, request.path)
        for rule in rules:
            if rule.before and (instead := rule.act(Answer())):
                return instead
        answer = self._serve(request)
        for rule in rules:
            if not rule.before:
                answer = rule.act(answer) or answer
        return answer

    def _serve(self, request: Request) -> Answer:
        if not request.path.startswith(self.begin):
            return failure(404, "Couldn't find the requested resource.")
        path = request.path.removeprefix(self.begin)
        if self.begin.endswith("/api/") or "/upload/mag/" in path:
            with self.stand_in.lock:
                return self.serve(request, path)
        return self.serve(request, path)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go when they like."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def _handle(self) -> None:
        log = self.server.stand_in.requests
        length = int(self.headers.get("Content-Length") or 0)
        begun = log.begin()
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer, request = Answer(500), Request.of(self.command, self.path, headers, self.rfile.read(length))
        try:
            answer = self.server.answer(request)
        except Exception:
            traceback.print_exc()  # a fault of the stand-in, or voxels that cannot be read
        finally:
            log.end(request, answer, begun)
        self._send(answer)

    do_GET = do_HEAD = do_POST = do_PATCH = _handle  # noqa: N815

    def _send(self, answer: Answer) -> None:
        if answer.status:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(answer.announced))
            self.end_headers()
            if self.command != "HEAD":
                self._send_content(answer)
        if answer.is_cut:
            self.wfile.flush()
            self.close_connection = True

    def _send_content(self, answer: Answer) -> None:
        pieces = _PIECES if answer.pause else 1
        size = -(-len(answer.content) // pieces) or 1
        for start in range(0, len(answer.content), size):
            time.sleep(answer.pause)
            self.wfile.write(answer.content[start : start + size])

    def log_message(self, *_: object) -> None:
        pass
