# A machine by Debian's own installer, without anybody at the keyboard.

variable "iso" {
  type        = string
  description = "The image of an installer that asks for a boot command, as Debian's network installer does."
}

variable "checksum" {
  type        = string
  description = "Its SHA-256."
}

variable "mirror" {
  type        = string
  description = "The host with Debian's packages, by http."
  default     = "deb.debian.org"
}

variable "options" {
  type        = string
  description = "Further options of the boot command."
  default     = ""
}

source "qemu" "debian" {
  iso_url        = var.iso
  iso_checksum   = "sha256:${var.checksum}"
  disk_size      = "3G"
  memory         = 1024
  headless       = true
  http_directory = "installer"
  boot_wait      = "20s"
  # The installer shows on the serial console what it does, as text. The network interface is eth0, whatever slot it has in
  # the machines that the box is started as.
  boot_command = [
    "install auto=true priority=critical url=http://{{ .HTTPIP }}:{{ .HTTPPort }}/preseed.cfg ",
    "mirror/http/hostname=${var.mirror} DEBIAN_FRONTEND=text TERM=dumb net.ifnames=0 console=ttyS0,115200n8 ${var.options}<enter>",
  ]
  ssh_username     = "vagrant"
  ssh_password     = "vagrant"
  ssh_timeout      = "3h" # without KVM, an installation takes from 20 minutes to an hour
  shutdown_command = "sudo systemctl poweroff"
}

build {
  sources = ["source.qemu.debian"]

  # The key that Vagrant publishes, and replaces when it starts the box for the first time.
  provisioner "file" {
    source      = "vagrant.pub"
    destination = "/tmp/vagrant.pub"
  }
  provisioner "shell" {
    inline = [
      "install -d -m 700 ~/.ssh",
      "install -m 600 /tmp/vagrant.pub ~/.ssh/authorized_keys",
      "rm /tmp/vagrant.pub",
    ]
  }

  post-processor "vagrant" {
    output = "debian.box"
  }
}
