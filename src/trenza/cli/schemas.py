"""JSON Schemas of what `-f json` prints, by kind."""

from __future__ import annotations

from typing import Any

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_INTEGER = {"type": "integer"}
_INTEGER_OR_NULL = {"type": ["integer", "null"]}
_NUMBER = {"type": "number"}
_NUMBER_OR_NULL = {"type": ["number", "null"]}
_TEXTS = {"type": "array", "items": _TEXT}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "null"}, schema]}


def _answer(kind: str, optional: dict[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    schema = _object(version={"const": 1}, kind={"const": kind}, **properties)
    schema["properties"].update(optional or {})
    return {"$schema": _DRAFT, **schema}


_PROBLEM = _object(
    severity={"enum": ["error", "warning", "note"]},
    code=_TEXT,
    message=_TEXT,
    file=_TEXT,
    line=_INTEGER,
    column=_INTEGER,
    length=_INTEGER,
    excerpt=_TEXT,
    hint=_TEXT_OR_NULL,
)
_VERDICT = {"enum": ["pass", "fail", "cannot-tell", "skipped"]}
_CHECK = _object(
    id=_TEXT,
    kind=_TEXT,
    title=_TEXT,
    asked={"type": "object"},
    verdict=_VERDICT,
    credit={"type": "number", "minimum": 0, "maximum": 1},
    said=_TEXT,
    because=_TEXT,
    hint=_TEXT,
    weight=_NUMBER,
    required={"type": "boolean"},
    hidden={"type": "boolean"},
    points=_NUMBER,
    max_points=_NUMBER,
    passed_after_s=_NUMBER_OR_NULL,
    evidence=_object(
        began_s=_NUMBER,
        ended_s=_NUMBER,
        theory=_TEXT,
        answers={"type": "object"},
        frames=_array(_object(name=_TEXT, data=_TEXT)),
    ),
)
_CHECKPOINT = _object(
    name=_TEXT,
    title={"type": "object"},
    points=_NUMBER,
    max_points=_NUMBER,
    verdict=_VERDICT,
    latched_s=_NUMBER_OR_NULL,
    hidden={"type": "boolean"},
    checks=_array(_CHECK),
)
_UNLIKE = _object(node=_TEXT, line=_TEXT, saved_status=_INTEGER_OR_NULL, status=_INTEGER_OR_NULL, why=_TEXT)
_NIC = _object(
    name=_TEXT,
    kind=_TEXT,
    index=_INTEGER,
    mac=_TEXT,
    mtu=_INTEGER,
    state={"enum": ["up", "down", "no-carrier"]},
    addresses=_TEXTS,
    leased=_TEXTS,
    bridge=_TEXT_OR_NULL,
    peer=_TEXT_OR_NULL,
    rx_packets=_INTEGER,
    tx_packets=_INTEGER,
    rx_bytes=_INTEGER,
    tx_bytes=_INTEGER,
)
_NODE = _object(
    name=_TEXT,
    kind={"enum": ["host", "container", "switch"]},
    host=_TEXT_OR_NULL,
    state={"enum": ["running", "stopped"]},
    pid=_INTEGER_OR_NULL,
    pid_in_host=_INTEGER_OR_NULL,
    pid_in_sandbox=_INTEGER_OR_NULL,
    nics=_array(_NIC),
)
_SERVICE = _object(
    node=_TEXT,
    service=_TEXT,
    argv=_TEXTS,
    state={"enum": ["running", "dead"]},
    pid=_INTEGER_OR_NULL,
    restarts=_INTEGER,
)
_REASON = _or_null(
    _object(
        tie={"enum": ["only", "root-id", "root-path-cost", "bridge-id", "port-id", "own-port-id"]},
        winner=_TEXT,
        over=_TEXT_OR_NULL,
        won=_TEXT,
        lost=_TEXT,
        by_number={"type": "boolean"},
        guessed={"type": "boolean"},
    )
)
_STP_DIFFERENCES = _array(
    _object(
        field=_TEXT,
        kernel=_TEXT,
        theory=_TEXT,
        why={
            "enum": [
                "converging", "hello-missing", "old-information", "by-hand", "carrier", "twins", "unknown-link"
            ]
        },
        remaining_s={"type": ["number", "null"]},
    )
)  # fmt: skip
_STP_PORT = _object(
    port=_TEXT,
    number=_INTEGER,
    state=_TEXT,
    role=_TEXT,
    cost=_INTEGER,
    priority=_INTEGER,
    designated_root=_TEXT,
    designated_bridge=_TEXT,
    designated_cost=_INTEGER,
    theory=_or_null(
        _object(
            state=_TEXT,
            role=_TEXT,
            cost=_INTEGER,
            designated_bridge=_TEXT,
            designated_cost=_INTEGER,
            for_root=_REASON,
            for_segment=_REASON,
        )
    ),
    differences=_STP_DIFFERENCES,
)
_STP = _object(
    node=_TEXT,
    bridge=_TEXT,
    stp={"type": "boolean"},
    bridge_id=_TEXT,
    root_id=_TEXT,
    is_root={"type": "boolean"},
    root_path_cost=_INTEGER,
    root_port=_TEXT_OR_NULL,
    topology_changes=_INTEGER,
    theory=_or_null(
        _object(
            root=_TEXT,
            root_id=_TEXT,
            root_path_cost=_INTEGER,
            root_port=_TEXT_OR_NULL,
            forward_delay_s=_NUMBER,
            hello_time_s=_NUMBER,
            max_age_s=_NUMBER,
            for_root=_REASON,
        )
    ),
    differences=_STP_DIFFERENCES,
    ports=_array(_STP_PORT),
)
_FORWARD = _object(
    bind=_TEXT_OR_NULL, port=_INTEGER, node=_TEXT, host=_TEXT, to=_INTEGER, open={"type": "boolean"},
    connections=_INTEGER,
)  # fmt: skip
_FAULT = _object(id=_INTEGER, fault=_TEXT, since=_NUMBER, until=_NUMBER_OR_NULL, down=_TEXTS)
_COUNTS = {"type": "object", "additionalProperties": _INTEGER}
_PROBE_OUTAGE = _object(
    probe=_TEXT, kind={"enum": ["ping", "http", "tcp"]}, source=_TEXT, interval_s=_NUMBER, sent=_INTEGER, lost=_INTEGER,
    outage_s=_NUMBER_OR_NULL, resolution_s=_NUMBER, last_good=_NUMBER_OR_NULL, first_good=_NUMBER_OR_NULL,
    intermittent={"type": "boolean"}, windows=_array(_array(_NUMBER_OR_NULL)),
    segments=_array(_object(layer=_TEXT, begin=_NUMBER, end=_NUMBER, seconds=_NUMBER, until=_TEXT_OR_NULL)),
    reasons=_COUNTS, answers=_object(before=_COUNTS, meanwhile=_COUNTS, after=_COUNTS),
    theory={"anyOf": [{"type": "null"}, _object(
        fate={"enum": ["unharmed", "outage", "lost", "lost-before"]}, low_s=_NUMBER_OR_NULL, high_s=_NUMBER_OR_NULL,
        why=_TEXT_OR_NULL, composition=_TEXT, notes=_TEXTS,
        parts=_array(_object(cause=_TEXT, seconds=_NUMBER_OR_NULL, node=_TEXT, at=_TEXT_OR_NULL, formula=_TEXT)),
    )]},
)  # fmt: skip
_SHOWN = {
    "configs": _array(_object(node=_TEXT, service=_TEXT, path=_TEXT, text=_TEXT_OR_NULL, changed={"type": "boolean"})),
    "nodes": _array(_NODE),
    "services": _array(_SERVICE),
    "links": _array({**_NIC, "properties": {"node": _TEXT, **_NIC["properties"]}}),
    "addresses": _array(_object(node=_TEXT, nic=_TEXT, address=_TEXT, scope=_TEXT, origin=_TEXT)),
    "routes": _array(
        _object(
            node=_TEXT,
            to=_TEXT,
            via=_TEXT_OR_NULL,
            dev=_TEXT_OR_NULL,
            metric=_INTEGER,
            protocol=_TEXT,
            type=_TEXT,
            source=_TEXT_OR_NULL,
        )
    ),
    "neighbours": _array(_object(node=_TEXT, nic=_TEXT, ip=_TEXT, mac=_TEXT_OR_NULL, state=_TEXT, whose=_TEXT_OR_NULL)),
    "fdb": _array(
        _object(
            node=_TEXT,
            bridge=_TEXT_OR_NULL,
            port=_TEXT,
            mac=_TEXT,
            origin={"enum": ["learnt", "static", "local"]},
            destination=_TEXT_OR_NULL,
            age_s={"type": ["number", "null"]},
            whose=_TEXT_OR_NULL,
        )
    ),
    "stp": _array(_STP),
    "faults": _array(_FAULT),
}

_EARNED = {"name": _TEXT, "points": _NUMBER, "max_points": _NUMBER}

SCHEMAS: dict[str, dict[str, Any]] = {
    "show": _answer("show", _SHOWN, lab=_TEXT, mode={"enum": ["full", "start", "until"]}, file=_TEXT),
    "up": _answer(
        "up",
        {"silent_pairs": _array(_TEXTS)},
        name=_TEXT,
        lab=_TEXT,
        fresh={"type": "boolean"},
        mode={"enum": ["full", "start", "until"]},
        until=_TEXT_OR_NULL,
        created=_INTEGER,
        changed=_INTEGER,
        removed=_INTEGER,
        lines=_TEXTS,
        left_alone=_TEXTS,
        warnings=_array(_PROBLEM),
        hosts=_INTEGER,
        containers=_INTEGER,
        switches=_INTEGER,
        nodes=_TEXTS,
        nat=_TEXTS,
        converges_s=_NUMBER,
        unready=_array(
            _object(
                node=_TEXT,
                service=_TEXT,
                reason=_TEXT,
                output=_TEXT,
                refusals=_array(_object(file=_TEXT_OR_NULL, line=_INTEGER_OR_NULL, text=_TEXT)),
            )
        ),
        seconds=_NUMBER,
    ),
    "plan": _answer("plan", lines=_TEXTS, operations=_INTEGER, left_alone=_TEXTS),
    "labs": _answer("labs", labs=_array(_object(lab=_TEXT, mode=_TEXT, nodes=_INTEGER, running=_INTEGER, file=_TEXT))),
    "shipped-labs": _answer(
        "shipped-labs",
        labs=_array(_object(name=_TEXT, title={"type": "object"}, points=_NUMBER, checkpoints=_TEXTS, file=_TEXT)),
    ),
    "forward": _answer("forward", forward=_FORWARD),
    "forwards": _answer("forwards", forwards=_array(_FORWARD)),
    "fault": _answer("fault", fault=_FAULT),
    "heal": _answer("heal", healed=_array(_FAULT)),
    "outage": _answer(
        "outage",
        fault=_TEXT,
        fault_time=_NUMBER,
        seconds=_NUMBER,
        settled={"type": "boolean"},
        probes=_array(_PROBE_OUTAGE),
        events=_array({"type": "object"}),
    ),
    "check": _answer(
        "check",
        lab=_TEXT,
        points=_NUMBER,
        max_points=_NUMBER,
        passed={"type": "boolean"},
        began_s=_NUMBER,
        seconds=_NUMBER,
        mapping=_array(_object(name=_TEXT, **{"is": _TEXT}, how=_TEXT, given={"type": "boolean"})),
        checkpoints=_array(_CHECKPOINT),
        optional={"state": _object(before=_array({"type": "object"}), after=_array({"type": "object"}))},
    ),
    "save": _answer("save", lab=_TEXT, file=_TEXT, commands=_INTEGER, files=_INTEGER, things=_INTEGER, left_out=_TEXTS),
    "export": _answer("export", lab=_TEXT, file=_TEXT, left_out=_TEXTS),
    "replay": _answer(
        "replay",
        name=_TEXT,
        lab=_TEXT,
        commands=_INTEGER,
        files=_INTEGER,
        skipped=_array(_UNLIKE),
        other_status=_array(_UNLIKE),
        differences=_TEXTS,
        same={"type": "boolean"},
        seconds=_NUMBER,
    ),
    "grade": _answer(
        "grade",
        lab=_TEXT,
        title={"type": "object"},
        trenza=_TEXT,
        max_points=_NUMBER,
        mean=_NUMBER_OR_NULL,
        digests={"type": "object", "additionalProperties": _TEXT},
        digest=_TEXT,
        out=_TEXT,
        students=_array(
            _object(
                name=_TEXT,
                key=_TEXT,
                directory=_TEXT,
                email=_TEXT,
                idnumber=_TEXT,
                outcome={"enum": ["graded", "not-handed-in", "refused", "ended", "ungraded"]},
                reason=_TEXT,
                points=_NUMBER_OR_NULL,
                max_points=_NUMBER_OR_NULL,
                seconds=_NUMBER,
                notes=_TEXTS,
                digest=_TEXT,
                check={"type": ["object", "null"]},
            )
        ),
        items=_array(
            _object(
                id=_TEXT,
                title=_TEXT,
                hidden={"type": "boolean"},
                students=_INTEGER,
                difficulty=_NUMBER,
                discrimination=_NUMBER_OR_NULL,
                cannot_tell=_NUMBER,
                flags=_array(
                    {"enum": ["nobody-passes", "everybody-passes", "negative-discrimination", "often-cannot-tell"]}
                ),
            )
        ),
        similar=_array(_object(students=_TEXTS, jaccard=_NUMBER, containment=_NUMBER, shared=_INTEGER, lines=_TEXTS)),
    ),
    "grade-verify": _answer(
        "grade-verify",
        findings=_array(_object(path=_TEXT, change={"enum": ["altered", "missing", "added", "unreadable", "mark"]})),
        digest=_TEXT,
        students=_INTEGER,
    ),
    "solve": _answer(
        "solve",
        lab=_TEXT,
        base=_array(_object(**_EARNED, right={"type": "boolean"}, true=_TEXTS)),
        checkpoints=_array(_object(**_EARNED, passed={"type": "boolean"}, because=_TEXT)),
        whole=_object(points=_NUMBER, max_points=_NUMBER, passed={"type": "boolean"}, because=_TEXT),
        mutants=_object(
            killed=_array(_object(name=_TEXT, by=_TEXT)),
            equal=_TEXTS,
            listed=_array(_object(name=_TEXT, reason=_TEXT)),
            survived=_array(_object(name=_TEXT, theory=_TEXT)),
            left_out=_INTEGER,
        ),
        unused=_TEXTS,
        passed={"type": "boolean"},
        seconds=_NUMBER,
    ),
    "lint": _answer("lint", problems=_array(_PROBLEM)),
    "history": _answer("history", lines=_array(_object(time=_NUMBER, node=_TEXT, status=_INTEGER, line=_TEXT))),
    "doctor": _answer(
        "doctor",
        findings=_array(
            _object(code=_TEXT, level={"enum": ["missing", "limited", "fine"]}, message=_TEXT, cure=_TEXTS)
        ),
    ),
    "errors": _answer(
        "errors",
        errors=_array({"type": "object", "properties": _PROBLEM["properties"], "required": ["code", "message"]}),
    ),
}
