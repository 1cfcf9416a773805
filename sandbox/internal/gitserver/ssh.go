package gitserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"

	"golang.org/x/crypto/ssh"
)

// SSH serves the same repositories over ssh, to read, to whoever has one key.
type SSH struct {
	folder string
	config *ssh.ServerConfig
}

// fetch is the one command that git sends to read.
var fetch = regexp.MustCompile(`^git-upload-pack '/?([^/']+)\.git'$`)

// NewSSH serves the repositories of a folder to the owner of a key.
func NewSSH(folder string, host ssh.Signer, user ssh.PublicKey) *SSH {
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), user.Marshal()) {
			return nil, errors.New("an unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	return &SSH{folder: folder, config: config}
}

// Serve answers until the listener is closed.
func (s *SSH) Serve(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go s.converse(connection)
	}
}

func (s *SSH) converse(connection net.Conn) {
	defer connection.Close()
	_, channels, requests, err := ssh.NewServerConn(connection, s.config)
	if err != nil {
		return // A stranger, and ssh has told them.
	}
	go ssh.DiscardRequests(requests)
	for asked := range channels {
		if asked.ChannelType() != "session" {
			_ = asked.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, requests, err := asked.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests)
	}
}

func (s *SSH) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	protocol := ""
	for request := range requests {
		switch request.Type {
		case "env":
			var set struct{ Name, Value string }
			if ssh.Unmarshal(request.Payload, &set) == nil && set.Name == "GIT_PROTOCOL" {
				protocol = set.Value
			}
			_ = request.Reply(true, nil)
		case "exec":
			_ = request.Reply(true, nil)
			status := struct{ Status uint32 }{s.run(channel, request.Payload, protocol)}
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
			return
		default:
			_ = request.Reply(false, nil)
		}
	}
}

func (s *SSH) run(channel ssh.Channel, payload []byte, protocol string) uint32 {
	var asked struct{ Command string }
	if ssh.Unmarshal(payload, &asked) != nil {
		return 128
	}
	found := fetch.FindStringSubmatch(asked.Command)
	if found == nil || !name.MatchString(found[1]) {
		_, _ = channel.Stderr().Write([]byte("ERROR: Repository not found.\n"))
		return 128
	}
	command := exec.Command("git", "upload-pack", "--strict", filepath.Join(s.folder, found[1]+".git"))
	command.Env = []string{"GIT_PROTOCOL=" + protocol, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
	command.Stdout, command.Stderr = channel, channel.Stderr()
	// A pipe of our own, since the client keeps its end open until we are done: nobody waits for the copying.
	input, err := command.StdinPipe()
	if err != nil {
		return 128
	}
	go func() {
		_, _ = io.Copy(input, channel)
		_ = input.Close()
	}()
	if command.Run() != nil {
		return 128
	}
	return 0
}
