"""Ask a running hub what its OpenAPI document allows, and what it does not.

`make schemathesis-long` asks longer: `python -m tests.metaport.api_schemathesis --examples 300`.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from unittest import SkipTest

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
# Laying out a report as PDF takes a second; its forms have tests of their own.
DEAR = {"get_usage_report", "get_usage_budget"}
# Their bodies are SDP, which has tests of its own.
SDP = ("/whip", "/whep", "/{kind}")
# 503 is an answer: nothing of media or of a contract stands behind the hub that is asked.
AWAY = 503


def ask(url: str, headers: dict[str, str], examples: int, seed: int) -> Iterator[str]:
    """Ask every described operation; yield what each failed with."""
    schema = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.startswith(SDP):
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            dear = operation.definition.raw["operationId"] in DEAR
            most = min(examples, 3) if dear else examples
            try:
                strategy = operation.as_strategy(generation_mode=mode)
            except (Unsatisfiable, SkipTest):
                continue  # nothing in it can be wrong

            @seeded(seed)
            @settings(
                max_examples=most,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def check(case: schemathesis.Case) -> None:
                response = case.call(base_url=url, headers=headers)
                # What the parser of HTTP refuses (a line too long) never is a request.
                reached = "X-Request-Id" in response.headers
                if reached and response.status_code != AWAY:
                    case.validate_response(response, checks=CHECKS)

            try:
                check()
            except Unsatisfiable:
                continue
            except (Exception, FailureGroup) as error:
                yield f"{operation.method.upper()} {operation.path} ({mode.value}): {error}"


async def main() -> int:
    """Ask a hub of its own; print what failed."""
    from tests.metaport.test_api_schemathesis import asked

    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    failures = await asked(arguments.examples, arguments.seed)
    print("\n\n".join(failures) or "no failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
