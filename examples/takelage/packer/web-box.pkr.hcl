# A web server on a machine: the playbook of its docker twin, web.pkr.hcl.

variable "disk" {
  type        = string
  description = "The disk of a box with systemd, python and the user vagrant."
}

variable "checksum" {
  type = string
}

source "qemu" "web" {
  disk_image       = true
  iso_url          = var.disk
  iso_checksum     = var.checksum
  disk_size        = "2G"
  memory           = 1024
  headless         = true
  ssh_username     = "vagrant"
  ssh_password     = "vagrant"
  ssh_timeout      = "20m"
  shutdown_command = "sudo systemctl poweroff"
}

build {
  sources = ["source.qemu.web"]

  provisioner "ansible" {
    playbook_file   = "../ansible/web.yml"
    user            = "vagrant"
    groups          = ["image", "web"]
    extra_arguments = ["--become"]
  }

  post-processor "vagrant" {
    output = "web.box"
  }
}
