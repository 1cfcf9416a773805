# A web server, provisioned by ansible in a container that has booted systemd: services start as they will later.

packer {
  required_plugins {
    docker = {
      source  = "github.com/hashicorp/docker"
      version = "~> 1"
    }
    ansible = {
      source  = "github.com/hashicorp/ansible"
      version = "~> 1"
    }
  }
}

variable "base" {
  type        = string
  description = "An image with systemd and python."
}

source "docker" "web" {
  image  = var.base
  pull   = false
  commit = true
  run_command = [
    "--detach", "--privileged", "--cgroupns=private", "--tmpfs", "/run", "--tmpfs", "/run/lock",
    "--stop-signal", "SIGRTMIN+3", "{{ .Image }}", "/lib/systemd/systemd",
  ]
  changes = [
    "CMD [\"/lib/systemd/systemd\"]",
    "STOPSIGNAL SIGRTMIN+3",
    "EXPOSE 80",
  ]
}

build {
  sources = ["source.docker.web"]

  provisioner "ansible" {
    playbook_file   = "../ansible/web.yml"
    user            = "root"
    groups          = ["image", "web"]
    extra_arguments = ["--extra-vars", "ansible_connection=docker ansible_host=${build.ID}"]
  }
}
