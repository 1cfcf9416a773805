"""imagechain: writes the tasks that failed, and on which hosts that ended the run, as one JSON object in each line."""
import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: imagechain
    type: notification
    short_description: tasks that failed, for imagechain
    description: [writes the tasks that failed, and how runs ended, into the file IMAGECHAIN_ANSIBLE_REPORT]
"""


# Secrets are taken out of what we write before it is cut to what people read, so that none is cut in two.
LONGEST = 20000


def cut(value):
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if len(text) <= LONGEST:
        return text
    return text[: LONGEST // 2] + " … " + text[-LONGEST // 2 :]


def first_failure(result):
    """Of a loop, the item that failed says more than the task."""
    for item in result.get("results") or []:
        if isinstance(item, dict) and (item.get("failed") or item.get("unreachable")):
            return item
    return result


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "imagechain"

    def write(self, entry):
        path = os.environ.get("IMAGECHAIN_ANSIBLE_REPORT")
        if path:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"run": os.getpid(), **entry}) + "\n")

    def report(self, result, kind):
        task = getattr(result, "task", None) or result._task
        host = getattr(result, "host", None) or result._host
        found = getattr(result, "result", None) or result._result
        entry = {
            "kind": kind,
            "task": cut(task.get_name()),
            "action": cut(str(task.action)),
            "path": cut(str(task.get_path() or "")),
            "host": cut(host.get_name()),
        }
        if task.no_log is True or found.get("_ansible_no_log"):
            entry["msg"] = "the output is hidden, since no_log is set"
        else:
            failed = first_failure(found)
            for key in ("msg", "stdout", "stderr"):
                # A module that could not even answer has its output under another name.
                value = failed.get(key) or failed.get("module_" + key)
                if value:
                    entry[key] = cut(value)
            if isinstance(failed.get("rc"), int):
                entry["rc"] = failed["rc"]
        self.write(entry)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not ignore_errors:
            self.report(result, "failed")

    def v2_runner_on_unreachable(self, result):
        self.report(result, "unreachable")

    def v2_playbook_on_stats(self, stats):
        """Of what failed, some was rescued or ignored: the statistics know what was not."""
        summaries = {host: stats.summarize(host) for host in stats.processed}
        hosts = [host for host, found in summaries.items() if found["failures"] or found["unreachable"]]
        self.write({"kind": "ended", "hosts": sorted(hosts)})
