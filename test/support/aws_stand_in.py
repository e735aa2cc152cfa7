"""The AWS CLI of a cluster that is left: the stock CLI judges each command, and IAM is the one at AWS_ENDPOINT_URL.
Pod Identity, which that does not know, is a file here. Started with `--judge FILE` it judges a list of commands."""
import contextlib
import io
import json
import os
import sys

import jmespath
from awscli.clidriver import create_clidriver

STATE = os.environ.get("STAND_IN_STATE", "")


DRIVER = create_clidriver()


def stock(arguments):
    """What the stock CLI says: its exit code and both outputs."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = DRIVER.main(arguments)
        except SystemExit as leaving:
            code = leaving.code
    return code, output.getvalue()


def judge(arguments):
    """Judges without a call: `eks` is not at AWS_ENDPOINT_URL. Good for one command of a process."""
    return stock([*arguments, "--generate-cli-skeleton", "output"])


# What the CLI says once a command was sent and the service has refused it.
REFUSED_BY_SERVICE = "An error occurred ("


def judge_sent(arguments):
    """Judges by sending it to AWS_ENDPOINT_URL, whatever is answered there."""
    code, said = stock(arguments)
    return (0, "") if REFUSED_BY_SERVICE in said else (code, said)


def value(arguments, name, default=None):
    return arguments[arguments.index(name) + 1] if name in arguments else default


def show(arguments, answer):
    found = jmespath.search(value(arguments, "--query", "@"), answer)
    print("\t".join(found) if isinstance(found, list) else found if isinstance(found, str) else "None")


def pod_identity(arguments):
    with contextlib.suppress(FileNotFoundError), open(STATE) as file:
        state = json.load(file)
    state = locals().get("state", {"addon": False, "associations": {}})
    associations = state["associations"]
    verb = arguments[1]
    given = value(arguments, "--association-id")
    who = [value(arguments, "--namespace"), value(arguments, "--service-account")]
    if verb == "describe-addon" and not state["addon"]:
        return 254
    if verb == "create-addon":
        state["addon"] = True
    if verb == "list-pod-identity-associations":
        show(arguments, {"associations": [one for one in associations.values() if one["who"] == who]})
    if verb == "describe-pod-identity-association":
        show(arguments, {"association": associations[given]})
    if verb == "delete-pod-identity-association":
        del associations[given]
    if verb == "create-pod-identity-association":
        if any(one["who"] == who for one in associations.values()):
            return 254
        key = f"a-{len(associations) + 1}"
        tags = dict([value(arguments, "--tags", "=").split("=")])
        roles = {"roleArn": value(arguments, "--role-arn"), "targetRoleArn": value(arguments, "--target-role-arn")}
        associations[key] = {"associationId": key, "who": who, "tags": tags, **roles}
    with open(STATE, "w") as file:
        json.dump(state, file)
    return 0


def run(arguments):
    with open(os.environ["STAND_IN_LOG"], "a") as log:
        log.write(json.dumps(["aws", *arguments]) + "\n")
    if arguments[0] != "eks":
        code, said = stock(arguments)
        print(said, end="", file=sys.stdout if code == 0 else sys.stderr)
        return code
    code, said = (0, "") if arguments[1] == "wait" else judge(arguments)
    if code != 0:
        print(said, file=sys.stderr)
        return 3
    return pod_identity(arguments)


if sys.argv[1] == "--judge":
    with open(sys.argv[2]) as file:
        commands = json.load(file)
    refused = [[command, said] for command in commands for code, said in [judge_sent(command)] if code != 0]
    print(json.dumps({"judged": len(commands), "refused": refused}))
else:
    sys.exit(run(sys.argv[1:]))
