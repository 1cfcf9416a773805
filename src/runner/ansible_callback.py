"""imagechain: writes the tasks that failed into a file, one JSON object in each line."""
import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: imagechain
    type: notification
    short_description: tasks that failed, for imagechain
    description: [writes the tasks that failed into the file IMAGECHAIN_ANSIBLE_REPORT]
"""


def cut(value, longest):
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if len(text) <= longest:
        return text
    return text[: longest // 2] + " … " + text[-longest // 2 :]


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

    def report(self, result, kind):
        path = os.environ.get("IMAGECHAIN_ANSIBLE_REPORT")
        if not path:
            return
        task = getattr(result, "task", None) or result._task
        host = getattr(result, "host", None) or result._host
        found = getattr(result, "result", None) or result._result
        entry = {
            "kind": kind,
            "task": cut(task.get_name(), 300),
            "action": cut(str(task.action), 100),
            "path": cut(str(task.get_path() or ""), 300),
            "host": cut(host.get_name(), 100),
        }
        if task.no_log is True or found.get("_ansible_no_log"):
            entry["msg"] = "the output is hidden, since no_log is set"
        else:
            failed = first_failure(found)
            for key, longest in (("msg", 800), ("stdout", 400), ("stderr", 600)):
                # A module that could not even answer has its output under another name.
                value = failed.get(key) or failed.get("module_" + key)
                if value:
                    entry[key] = cut(value, longest)
            if isinstance(failed.get("rc"), int):
                entry["rc"] = failed["rc"]
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not ignore_errors:
            self.report(result, "failed")

    def v2_runner_on_unreachable(self, result):
        self.report(result, "unreachable")
