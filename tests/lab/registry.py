"""Registries that the lab cannot run, as their documentation tells them; forms are read by Werkzeug's parser."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response


@dataclass
class Registry:
    """Files by path, and every request: method, path with query, headers."""

    token: str
    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: Request) -> Response:
        """GitLab, Gitea, Nexus and Artifactory, told apart by their paths."""
        self.seen.append((request.method, request.full_path.rstrip("?"), dict(request.headers)))
        if not any(self.token in value for value in request.headers.values()) and not self._basic(request):
            return Response("denied", 401)
        path = request.path
        if request.method == "POST" and path == "/service/rest/v1/components":
            return self._component(request)
        if request.method == "PUT":
            return self._put(path, request)
        if request.method == "DELETE":
            return Response(status=204 if self.files.pop(path, None) is not None else 404)
        content = self.files.get(path)
        if content is None:
            return Response("not found", 404)
        sums = {"X-Checksum-Sha256": hashlib.sha256(content).hexdigest()} if path.startswith("/artifactory/") else {}
        return Response(content, 200, sums)

    def _basic(self, request: Request) -> bool:
        return request.authorization is not None and request.authorization.password == self.token

    def _put(self, path: str, request: Request) -> Response:
        content = request.get_data()
        told = request.headers.get("X-Checksum-Sha256")
        if path.startswith("/artifactory/") and told != hashlib.sha256(content).hexdigest():
            return Response("checksum", 409)
        if path.startswith("/api/packages/") and path in self.files:
            return Response("package file already exists", 409)
        self.files[path] = content
        return Response(status=201)

    def _component(self, request: Request) -> Response:
        name, folder = request.form["raw.asset1.filename"], request.form["raw.directory"]
        repository = request.args["repository"]
        self.files[f"/repository/{repository}{folder}/{name}"] = request.files["raw.asset1"].read()
        return Response(status=204)


@contextmanager
def registry(token: str) -> Iterator[Registry]:
    """A running one."""
    made = Registry(token)
    server = make_server("127.0.0.1", 0, Request.application(made.answer), threaded=True)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
