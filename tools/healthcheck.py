"""Exit 0 when the web server of this container answers; run by the image's HEALTHCHECK."""

from __future__ import annotations

import os
import urllib.request

# Under its public name: production refuses others.
name = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".") or "localhost"
request = urllib.request.Request("http://127.0.0.1:8000/health", headers={"Host": name})
urllib.request.urlopen(request, timeout=2).close()  # noqa: S310
