"""The application, request by request."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import app


def request(method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.input": io.BytesIO(data),
    }
    seen: list[str] = []
    out = b"".join(app.application(environ, lambda status, headers: seen.append(status)))
    return int(seen[0].split()[0]), json.loads(out)


def test_a_job(session: None) -> None:
    status, body = request("POST", "/jobs", {"texts": ["a b a", "b c"]})
    assert status == 202
    path = f"/jobs/{body['job']}"
    end = time.monotonic() + 60
    while request("GET", path)[1]["status"] != "done":
        assert time.monotonic() < end
        assert request("GET", path + "/result")[0] in (200, 409)
        time.sleep(0.01)
    assert request("GET", path) == (200, {"job": body["job"], "status": "done", "done": 2, "of": 2})
    assert request("GET", path + "/result") == (200, {"words": {"a": 2, "b": 2, "c": 1}})


def test_bad_requests() -> None:
    for body in (b"", b"{", {"texts": "a"}, {"texts": [1]}, {"texts": []}, [1]):
        assert request("POST", "/jobs", body)[0] == 400
    assert request("POST", "/jobs", b" " * (app.BODY_MAX + 1))[0] == 413
    assert request("POST", "/jobs", {"texts": ["a"] * (app.TEXTS_MAX + 1)})[0] == 400
    assert request("GET", "/jobs/none")[0] == 404
    assert request("GET", "/jobs/none/result")[0] == 404
    assert request("GET", "/")[0] == 404
