# What a machine needs beside the image of a container that boots systemd.

variable "base" {
  type        = string
  description = "An image with systemd and python."
}

source "docker" "machine" {
  image       = var.base
  pull        = false
  commit      = true
  run_command = ["--detach", "--interactive", "--tty", "{{ .Image }}", "/bin/sh"]
  changes     = ["CMD [\"/lib/systemd/systemd\"]"]
}

build {
  sources = ["source.docker.machine"]

  provisioner "shell" {
    environment_vars = ["DEBIAN_FRONTEND=noninteractive"]
    inline = [
      "set -eu",
      "apt-get update",
      "apt-get install -y --no-install-recommends linux-image-cloud-amd64 udev openssh-server sudo systemd-resolved libnss-resolve",
      "rm -rf /var/lib/apt/lists/*",
      # What has no place in a container has one here.
      "systemctl unmask systemd-modules-load.service systemd-udevd.service systemd-udev-trigger.service systemd-logind.service systemd-remount-fs.service",
      "systemctl unmask dev-hugepages.mount dev-mqueue.mount getty.target",
      "printf '[Match]\\nType=ether\\n[Network]\\nDHCP=yes\\n' >/etc/systemd/network/20-wired.network",
      "systemctl enable systemd-networkd.service systemd-resolved.service ssh.service",
      "useradd --create-home --shell /bin/bash vagrant",
      "echo vagrant:vagrant | chpasswd",
      "echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/vagrant",
    ]
  }

  # The key that Vagrant publishes, and replaces when it starts the box for the first time.
  provisioner "file" {
    source      = "vagrant.pub"
    destination = "/tmp/vagrant.pub"
  }
  provisioner "shell" {
    inline = [
      "install -d -m 700 -o vagrant -g vagrant /home/vagrant/.ssh",
      "install -m 600 -o vagrant -g vagrant /tmp/vagrant.pub /home/vagrant/.ssh/authorized_keys",
      "rm /tmp/vagrant.pub",
    ]
  }
}
