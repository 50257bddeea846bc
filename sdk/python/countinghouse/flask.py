"""Request tracking for Flask: RequestTracking(app, tracker=tracker)."""

from __future__ import annotations

import flask

from countinghouse import wsgi
from countinghouse.requests import Request, RequestTracker


class RequestTracking:
    """Counts an application's requests, with their routes and the marks of their views.

    What decides about organization, billable and category is asked within the request, so
    `flask.g` and the session are at hand.
    """

    def __init__(self, app: flask.Flask, *, tracker: RequestTracker) -> None:
        self._app, self._tracker = app, tracker
        # The first to be registered is the last to be called: it sees the final answer.
        app.after_request_funcs.setdefault(None, []).insert(0, self._judge)
        wrapped = wsgi.RequestTracking(app.wsgi_app, tracker=tracker)
        app.wsgi_app = wrapped  # type: ignore[method-assign]  # as Flask documents it

    def _judge(self, response: flask.Response) -> flask.Response:
        request = flask.request
        rule = request.url_rule
        judged = self._tracker.judge(
            Request(
                method=request.method,
                path=request.path,
                route="" if rule is None else rule.rule,
                status=response.status_code,
                header=lambda name: request.headers.get(name, ""),
                native=request,
                view=self._app.view_functions.get(request.endpoint or ""),
            )
        )
        request.environ[wsgi.JUDGED] = judged
        return response
