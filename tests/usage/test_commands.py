"""The commands' formats are a contract: names, counts, exit codes."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command

from apps.core import clock, rls
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from apps.usage import selectors, services
from apps.usage.devices import NewReport
from apps.usage.models import DeviceReport, Event, RejectedEvent
from apps.usage.tasks import cleanup_reports
from tests.conftest import AT, STAFF, make_organization
from tests.usage.conftest import define

ROOT = Path(__file__).resolve().parents[2]
CSV = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:17:03.9799600,4808,10\r\n"
    "2023-11-16 18:17:04.0319600,3180,8\r\n"
    "2023-11-16 18:17:04.0319600,3180,8\r\n"
    "2023-11-16 19:14:19.9280160,,173"
)
COLUMNS = [
    "--organization", "acme", "--type", "ai.request", "--time", "TIMESTAMP",
    "--data", "tokens=ContextTokens", "generated=GeneratedTokens",
]  # fmt: skip
WINDOW = (datetime(2023, 11, 1, tzinfo=UTC), datetime(2023, 12, 1, tzinfo=UTC))


@pytest.fixture
def acme(organization: Organization, meters: None) -> Organization:
    return organization


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(content: str | bytes, name: str = "events.csv") -> str:
        raw = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return str(path)

    return write


def run(command: str, *arguments: str) -> dict[str, int]:
    out = io.StringIO()
    call_command(command, *arguments, "--format", "json", stdout=out, stderr=io.StringIO())
    found: dict[str, int] = json.loads(out.getvalue())
    return found


def counts(accepted: int = 0, duplicate: int = 0, rejected: int = 0) -> dict[str, int]:
    return {"accepted": accepted, "duplicate": duplicate, "rejected": rejected}


def line(**changes: object) -> str:
    event = {
        "specversion": "1.0",
        "id": "a-1",
        "source": "app",
        "type": "ai.request",
        "subject": "acme",
        "time": "2023-11-16T18:17:03Z",
        "data": {"tokens": 5},
    }
    return json.dumps(
        {key: value for key, value in {**event, **changes}.items() if value is not None}
    )


def codes() -> list[str]:
    with rls.ops_scope("test"):
        return list(RejectedEvent.objects.order_by("id").values_list("code", flat=True))


def test_a_csv_file_is_taken_once(acme: Organization, file: Callable[..., str]) -> None:
    path = file(CSV)
    assert run("ingest_usage", path, *COLUMNS) == counts(accepted=4)
    assert run("ingest_usage", path, *COLUMNS) == counts(duplicate=4)
    with rls.tenant_scope(acme.pk):
        wants = [selectors.Want(key, *WINDOW) for key in ("requests", "tokens")]
        assert [one.quantity for one in selectors.measure(acme.pk, wants)] == [4, 11_168]
        first = Event.objects.earliest("id")
    assert first.occurred_at == datetime(2023, 11, 16, 18, 17, 3, 979960, tzinfo=UTC)
    assert (first.data, first.source) == ({"tokens": 4808, "generated": 10}, "ingest_usage")


def test_the_same_content_packed_is_the_same_file(
    acme: Organization, file: Callable[..., str]
) -> None:
    run("ingest_usage", file(CSV), *COLUMNS)
    assert run("ingest_usage", file(CSV, "other.csv.gz"), *COLUMNS) == counts(duplicate=4)


def test_an_appended_file_counts_as_new_and_that_is_said(
    acme: Organization, file: Callable[..., str]
) -> None:
    run("ingest_usage", file(CSV), *COLUMNS)
    said = io.StringIO()
    more = file(CSV + "\n2023-11-17 00:00:00,1,1")
    call_command("ingest_usage", more, *COLUMNS, stdout=io.StringIO(), stderr=said)
    assert "an appended or edited file counts as new" in said.getvalue()
    with rls.tenant_scope(acme.pk):
        assert Event.objects.count() == 9


def test_rows_with_an_id_of_their_own_may_be_appended_to(
    acme: Organization, file: Callable[..., str]
) -> None:
    columns = ["--organization", "acme", "--type", "ai.request", "--time", "at", "--id", "key"]
    rows = "key,at\na,2023-11-16T00:00:00Z\nb,2023-11-16T00:00:00Z\n"
    assert run("ingest_usage", file(rows), *columns) == counts(accepted=2)
    more = file(rows + "c,2023-11-16T00:00:00Z\n")
    assert run("ingest_usage", more, *columns) == counts(accepted=1, duplicate=2)


def test_data_may_be_repeated(acme: Organization, file: Callable[..., str]) -> None:
    columns = [*COLUMNS[:6], "--data", "tokens=ContextTokens", "--data", "out=GeneratedTokens"]
    run("ingest_usage", file(CSV), *columns)
    with rls.tenant_scope(acme.pk):
        assert Event.objects.earliest("id").data == {"tokens": 4808, "out": 10}


def test_bad_rows_are_kept_with_the_reason(acme: Organization, file: Callable[..., str]) -> None:
    rows = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03,many,1\n"
        ",1,1\n"
        "yesterday,1,1\n"
        "2023-11-16 18:17:03,1\n"
        "2023-11-16 18:17:03,-1,1\n"
        '2023-11-16 18:17:03,"1"x,1\n'
        "\n"
        "2023-11-16 18:17:03,1,good\n"
    )
    path = file(rows.encode() + b"2023-11-16 18:17:03,1,\xff\n" + b'2023-11-16 18:17:03,"1,1\n')
    assert run("ingest_usage", path, *COLUMNS) == counts(accepted=1, rejected=8)
    assert sorted(codes()) == sorted(
        ["not_numeric", "invalid_time", "invalid_time", "malformed", "negative", "malformed",
         "malformed", "malformed"]
    )  # fmt: skip
    assert run("ingest_usage", path, *COLUMNS) == counts(duplicate=1, rejected=8)
    with rls.ops_scope("test"):
        assert set(RejectedEvent.objects.values_list("times_seen", flat=True)) == {2}
        assert set(RejectedEvent.objects.values_list("line", flat=True)) == {
            2,
            3,
            4,
            5,
            6,
            7,
            10,
            11,
        }
        assert RejectedEvent.objects.get(line=11).payload == '2023-11-16 18:17:03,"1,1'


def test_strict_fails_after_storing(acme: Organization, file: Callable[..., str]) -> None:
    path = file(CSV + "\n,1,1")
    with pytest.raises(CommandError, match="1 rejected"):
        run("ingest_usage", path, *COLUMNS, "--strict")
    with rls.tenant_scope(acme.pk):
        assert Event.objects.count() == 4


def test_cloudevents_go_to_the_organization_they_name(
    acme: Organization, other_organization: Organization, file: Callable[..., str]
) -> None:
    text = "\n".join([line(), line(subject="stranger"), "", line(subject=acme.public_id, id="a-2")])
    assert run("ingest_usage", file("\ufeff" + text, "e.jsonl.gz")) == counts(accepted=3)
    for owner, number in ((acme, 2), (other_organization, 1)):
        with rls.tenant_scope(owner.pk):
            assert Event.objects.count() == number


def test_external_ids_need_their_application(acme: Organization, file: Callable[..., str]) -> None:
    with rls.ops_scope("test"):
        tenants.define_application("gateway", name="Gateway", actor=STAFF, at=AT)
        tenants.map_external_id(
            acme.pk, application="gateway", external_id="customer-7", actor=STAFF, at=AT
        )
    path = file(line(subject="customer-7"), "e.jsonl")
    assert run("ingest_usage", path, "--application", "gateway") == counts(accepted=1)


def test_an_external_id_of_several_organizations_needs_its_application(
    acme: Organization, other_organization: Organization, file: Callable[..., str]
) -> None:
    with rls.ops_scope("test"):
        for slug, owner in (("gateway", acme), ("games", other_organization)):
            tenants.define_application(slug, name=slug, actor=STAFF, at=AT)
            tenants.map_external_id(
                owner.pk, application=slug, external_id="customer-7", actor=STAFF, at=AT
            )
    path = file(line(subject="customer-7"), "e.jsonl")
    rows = ["--organization", "customer-7", *COLUMNS[2:]]
    said = "means several organizations; name the application with --application"
    assert run("ingest_usage", path) == counts(rejected=1)
    with rls.ops_scope("test"):
        assert said in RejectedEvent.objects.get().detail
    with pytest.raises(CommandError, match=said):
        run("ingest_usage", file(CSV), *rows)
    assert run("ingest_usage", file(CSV), *rows, "--application", "games") == counts(accepted=4)
    with rls.tenant_scope(other_organization.pk):
        assert Event.objects.count() == 4
    with pytest.raises(CommandError, match="no application 'nope'"):
        run("ingest_usage", path, "--application", "nope")
    assert run("ingest_usage", path, "--application", "games") == counts(accepted=1)


@pytest.mark.parametrize("content", ["", "TIMESTAMP,GeneratedTokens\n1,1\n", CSV.split("\r")[0]])
def test_nothing_is_said_of_derived_ids_when_no_row_gets_one(
    acme: Organization, file: Callable[..., str], content: str
) -> None:
    said = io.StringIO()
    with contextlib.suppress(CommandError):
        call_command("ingest_usage", file(content), *COLUMNS, stdout=io.StringIO(), stderr=said)
    assert "Warning" not in said.getvalue()


def test_every_bad_line_is_kept_and_counts(acme: Organization, file: Callable[..., str]) -> None:
    bad = [
        "{", "[]", line(subject="nobody"), line(subject=None), line(type="unheard.of"),
        line(time=None), line(id="é"), line(data={"tokens": "x"}), line(data={"tokens": None}),
        line(id=None), line(data={"a": "\x00"}), line(specversion="0.3"), "x" * 2_000_000,
    ]  # fmt: skip
    path = file("\n".join([*bad, line()]), "e.jsonl")
    assert run("ingest_usage", path) == counts(accepted=1, rejected=len(bad))
    assert run("ingest_usage", path) == counts(duplicate=1, rejected=len(bad))
    assert sorted(codes()) == sorted(
        ["malformed", "invalid_event", "unknown_subject", "unknown_subject", "unknown_type",
         "invalid_time", "invalid_id", "not_numeric", "not_numeric", "invalid_event",
         "invalid_text", "invalid_event", "too_large"]
    )  # fmt: skip


def test_unknown_subjects_are_the_staffs_to_see(
    acme: Organization, file: Callable[..., str]
) -> None:
    run("ingest_usage", file(line(subject="later"), "e.jsonl"))
    with rls.tenant_scope(acme.pk):
        assert not RejectedEvent.objects.exists()
        assert selectors.open_rejections(acme.pk) == 0


def test_what_was_rejected_is_replayed_when_it_can_be(
    acme: Organization, file: Callable[..., str]
) -> None:
    path = file("\n".join([line(subject="later"), line(type="new.type", id="n"), "{"]), "e.jsonl")
    run("ingest_usage", path)
    assert run("replay_rejected") == counts(rejected=3)
    later = make_organization("later")
    assert run("replay_rejected") == counts(accepted=1, rejected=2)
    with rls.ops_scope("test"):
        services.define_meter(
            "news", event_type="new.type", aggregation="count", actor=STAFF, at=AT
        )
    assert run("replay_rejected", "--organization", "acme") == counts(accepted=1)
    assert run("replay_rejected") == counts(rejected=1)
    with rls.ops_scope("test"):
        replayed = RejectedEvent.objects.filter(replayed_at__isnull=False)
        assert {row.event.organization_id for row in replayed if row.event} == {acme.pk, later.pk}
    assert run("ingest_usage", path) == counts(duplicate=2, rejected=1)


def test_a_rejected_row_of_a_csv_file_can_be_replayed(
    organization: Organization, file: Callable[..., str]
) -> None:
    path = file(CSV)
    assert run("ingest_usage", path, *COLUMNS) == counts(rejected=4)
    assert set(codes()) == {"unknown_type"}
    with rls.ops_scope("test"):
        define()
    assert run("replay_rejected") == counts(accepted=4)
    assert run("ingest_usage", path, *COLUMNS) == counts(duplicate=4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (COLUMNS[2:], "needs --organization"),
        (COLUMNS[:2], "needs --type, --time"),
        ([*COLUMNS[:5], "WHEN"], "no column 'WHEN'; it has TIMESTAMP, ContextTokens"),
        ([*COLUMNS, "--data", "tokens"], "NAME=COLUMN"),
        ([*COLUMNS, "--data", "tokens=GeneratedTokens"], "gives 'tokens' 2 times"),
        ([*COLUMNS, "--application", "nope"], "no application 'nope'"),
        (["--organization", "nobody", *COLUMNS[2:]], "no organization 'nobody'"),
    ],
)
def test_wrong_usage_is_said_and_nothing_stored(
    acme: Organization, file: Callable[..., str], arguments: list[str], said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        run("ingest_usage", file(CSV), *arguments)
    with rls.tenant_scope(acme.pk):
        assert not Event.objects.exists()


def test_a_damaged_or_missing_file_is_said(
    acme: Organization, file: Callable[..., str], tmp_path: Path
) -> None:
    packed = gzip.compress(line().encode() * 1000)
    (tmp_path / "torn.jsonl.gz").write_bytes(packed[:-20])
    for name, said in (("torn.jsonl.gz", "damaged"), ("none.jsonl", "cannot be read")):
        with pytest.raises(CommandError, match=said):
            run("ingest_usage", str(tmp_path / name))


def test_roll_up_and_rebuild_report(acme: Organization) -> None:
    assert run("rollup_usage")["rebuilt"] is False
    assert run("rebuild_usage", "--organization", "acme") == {"new_epoch": False, "differences": []}


def manage(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
    process: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )
    return process


@pytest.mark.committed
def test_stdin_is_read_packed_or_not(committed_db: str) -> None:
    with rls.ops_scope("test"):
        define()
    make_organization("acme")
    for raw, expected in (
        (CSV.encode(), counts(accepted=4)),
        (gzip.compress(CSV.encode()), counts(duplicate=4)),
    ):
        process = manage("ingest_usage", "-", *COLUMNS, "--format", "json", stdin=subprocess.PIPE)
        out, said = process.communicate(raw, timeout=60)
        assert (process.returncode, json.loads(out)) == (0, expected), said


@pytest.mark.committed
def test_a_killed_run_is_finished_by_the_next(committed_db: str, file: Callable[..., str]) -> None:
    with rls.ops_scope("test"):
        define()
    make_organization("acme")
    start = datetime(2023, 11, 1, tzinfo=UTC)
    rows = [f"{(start + k * timedelta(seconds=1)).isoformat()},1,1" for k in range(30_000)]
    path = file("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    process = manage("ingest_usage", path, *COLUMNS)
    with psycopg.connect(committed_db, autocommit=True) as watch:
        watch.execute("SET ROLE billing_ops")
        while not watch.execute("SELECT count(*) FROM usage_event").fetchone()[0]:  # type: ignore[index]
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        (stored,) = watch.execute("SELECT count(*) FROM usage_event").fetchone()  # type: ignore[misc]
    assert 0 < stored < 30_000
    assert stored % 1000 == 0
    found = run("ingest_usage", path, *COLUMNS)
    assert found == counts(accepted=30_000 - stored, duplicate=stored)


def exported(*arguments: str) -> str:
    out = io.StringIO()
    call_command("export_usage", "acme", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_usage_leaves_as_rows_of_local_days_and_groups(
    acme: Organization, file: Callable[..., str]
) -> None:
    with rls.ops_scope("test: dimensions"):
        define("requests", dimensions=["model"])
    sent = [line(id=f"m-{n}", data={"model": name}) for n, name in enumerate(["@a", "b", "b"])]
    run("ingest_usage", file("\n".join(sent), "events.jsonl"))
    asked = ("--from", "2023-11-16", "--to", "2023-11-17", "--meter", "requests")
    day = "2023-11-16T00:00:00Z,2023-11-17T00:00:00Z,requests"
    assert exported(*asked).splitlines() == ["start,end,meter,quantity,events", f"{day},3,3"]
    assert exported(*asked, "--group-by", "model").splitlines() == [
        "start,end,meter,model,quantity,events",
        f"{day},b,2,2",
        f"{day},'@a,1,1",
    ]
    [row] = json.loads(exported(*asked, "--where", "model=b", "--format", "json"))
    assert (row["quantity"], row["events"]) == ("2", 2)
    with pytest.raises(CommandError, match="nothing between"):
        exported("--from", "2023-11-17", "--to", "2023-11-17")
    with pytest.raises(CommandError, match="no dimension"):
        exported(*asked, "--group-by", "region")


def test_old_device_reports_are_deleted_or_only_counted(acme: Organization) -> None:
    for days in (1, 31, 100):
        moment = clock.now() - timedelta(days=days)
        with rls.tenant_scope(acme.pk):
            services.report_devices(
                acme.pk, report=NewReport("plant", 1, 2, moment), actor=STAFF, at=moment
            )
    asked = ("cleanup_usage_reports", "--older-than", "30d", "--organization", "acme")
    assert run(*asked, "--dry-run") == {"deleted": 0, "found": 2}
    assert run("cleanup_usage_reports") == {"deleted": 1, "found": 1}
    assert run(*asked) == {"deleted": 1, "found": 1}
    assert cleanup_reports() == 0
    with rls.tenant_scope(acme.pk):
        assert DeviceReport.objects.count() == 1
    with pytest.raises(CommandError, match="a day at least"):
        run("cleanup_usage_reports", "--older-than", "0")
