# Runs Debian's `openstack` command line many times in one process: starting it anew costs more than
# a second each time, and what is tested is what it sends and what it makes of the answers.
# Each line of stdin is a JSON list of arguments; each line of stdout is its {"stdout", "stderr", "status"}.
import io
import json
import sys
import time
import traceback

from openstackclient.shell import OpenStackShell

sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 50)  # --wait looks again every ten seconds


def run(argv):
    out, err = io.StringIO(), io.StringIO()
    own = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        status = OpenStackShell().run(argv)
    except SystemExit as e:  # how argparse ends
        status = e.code
    except Exception:
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout, sys.stderr = own
    return {"stdout": out.getvalue(), "stderr": err.getvalue(), "status": status or 0}


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
