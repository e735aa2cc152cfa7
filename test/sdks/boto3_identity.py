"""A program as it might run in any pod: boto3 with nothing configured. It says who STS says it is, at the start and again
for each line of its input, with credentials that it fetches anew."""

import json
import sys
import time

import boto3


def say():
    started = time.monotonic()
    try:
        said = {"arn": boto3.session.Session().client("sts").get_caller_identity()["Arn"]}
    except Exception as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    said["tookMs"] = (time.monotonic() - started) * 1000
    print(json.dumps(said), flush=True)


say()
for _line in sys.stdin:
    say()
