# A Debian that boots: systemd, and python for ansible. There is no python yet, so a shell does it.

variable "base" {
  type        = string
  description = "A Debian image."
}

source "docker" "systemd" {
  image  = var.base
  commit = true
  # Packer's own default would leave its shell in the image, as the entry point.
  run_command = ["--detach", "--interactive", "--tty", "{{ .Image }}", "/bin/sh"]
  changes = [
    "CMD [\"/lib/systemd/systemd\"]",
    # systemd takes SIGTERM for an order to start itself again.
    "STOPSIGNAL SIGRTMIN+3",
    "ENV container=docker DEBIAN_FRONTEND=noninteractive",
  ]
}

build {
  sources = ["source.docker.systemd"]

  provisioner "shell" {
    environment_vars = ["DEBIAN_FRONTEND=noninteractive"]
    inline = [
      "set -eu",
      "apt-get update",
      "apt-get install -y --no-install-recommends systemd-sysv dbus python3 python3-apt ca-certificates",
      # What has no place in a container: with these the state would be «degraded».
      "systemctl mask systemd-modules-load.service systemd-udevd.service systemd-udev-trigger.service systemd-logind.service systemd-remount-fs.service",
      "systemctl mask sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount dev-hugepages.mount dev-mqueue.mount",
      "systemctl mask getty.target console-getty.service",
      "rm -rf /var/lib/apt/lists/*",
      ": >/etc/machine-id",
    ]
  }
}
