"""The web application: takes jobs, tells how far they are, gives their results."""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import remote

import engine

TEXTS_MAX = 1000
BODY_MAX = 1 << 20
JOBS_MAX = 10_000


class Jobs:
    """The jobs that were submitted, oldest out first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._jobs: dict[str, tuple[list[Any], Any]] = {}

    def submit(self, texts: list[str]) -> str:
        """Starts a task for each text, and one that merges their results."""
        counts = [remote.count.remote(text) for text in texts]
        result = remote.merge.remote(*counts)
        with self._lock:
            job = str(next(self._ids))
            self._jobs[job] = counts, result
            while len(self._jobs) > JOBS_MAX:
                del self._jobs[next(iter(self._jobs))]
        return job

    def status(self, job: str) -> dict[str, Any] | None:
        """How far a job is."""
        found = self._jobs.get(job)
        if found is None:
            return None
        counts, result = found
        done = sum(ref.is_ready() for ref in counts)
        return {
            "job": job,
            "status": "done" if result.is_ready() else "running",
            "done": done,
            "of": len(counts),
        }

    def result(self, job: str, timeout: float) -> Any:
        """What a job has made. Raises KeyError, TimeoutError, or what its tasks raised."""
        _, result = self._jobs[job]
        return engine.get(result, timeout=timeout)


jobs = Jobs()
Reply = tuple[str, Any]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """WSGI."""
    status, body = handle(environ)
    data = json.dumps(body).encode() + b"\n"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]


def handle(environ: dict[str, Any]) -> Reply:
    """One request."""
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
    match path.strip("/").split("/"):
        case ["jobs"] if method == "POST":
            return submit(environ)
        case ["jobs", job] if method == "GET":
            found = jobs.status(job)
            return ("200 OK", found) if found else missing(job)
        case ["jobs", job, "result"] if method == "GET":
            return result(job)
    return "404 Not Found", {"error": f"there is no {method} {path}"}


def submit(environ: dict[str, Any]) -> Reply:
    """POST /jobs"""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > BODY_MAX:
        return "413 Content Too Large", {"error": f"at most {BODY_MAX} bytes"}
    try:
        texts = json.loads(environ["wsgi.input"].read(length))["texts"]
    except (ValueError, KeyError, TypeError):
        texts = None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        return "400 Bad Request", {"error": 'the body is {"texts": ["…", …]}'}
    if len(texts) > TEXTS_MAX:
        return "400 Bad Request", {"error": f"at most {TEXTS_MAX} texts"}
    return "202 Accepted", {"job": jobs.submit(texts)}


def result(job: str) -> Reply:
    """GET /jobs/ID/result"""
    try:
        return "200 OK", {"words": jobs.result(job, timeout=0)}
    except KeyError:
        return missing(job)
    except engine.exceptions.GetTimeoutError:
        return "409 Conflict", {"error": f"job {job} is not done yet"}
    except engine.exceptions.EngineError as error:
        return "500 Internal Server Error", {"error": error.message, "code": error.code}


def missing(job: str) -> Reply:
    """No such job."""
    return "404 Not Found", {"error": f"there is no job {job}"}


def main() -> None:
    """Serves on a port of this machine."""
    from wsgiref.simple_server import make_server

    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    with engine.init(), make_server("127.0.0.1", port, application) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
