package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopWithin bounds how long a process may take to end when it is told to.
const stopWithin = 15 * time.Second

// service is the name under which a child serves its methods.
const service = "Bench"

// A child is another process of this program, whose CPU is counted apart. It
// serves one service (net/rpc) over its standard input and output, and ends when
// its input does: so it never outlives its parent, however that ends.
type child struct {
	cmd *exec.Cmd
	rpc *rpc.Client
}

// startChild starts this program with a command that calls serveParent.
func startChild(command string, log io.Writer) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", command, err)
	}
	cmd := exec.Command(self, command)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to handle
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", command, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", command, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", command, err)
	}
	return &child{cmd: cmd, rpc: rpc.NewClient(duplex{out, in, in})}, nil
}

// ask calls a method of the child's service and returns its reply. When ctx ends first, the
// child still replies later, into memory that nobody reads.
func ask[Reply any](ctx context.Context, c *child, method string, args any) (reply Reply, err error) {
	call := c.rpc.Go(service+"."+method, args, new(Reply), make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return reply, fmt.Errorf("%s: %w", method, call.Error)
		}
		return *call.Reply.(*Reply), nil
	case <-ctx.Done():
		return reply, fmt.Errorf("%s: %w", method, context.Cause(ctx))
	}
}

// tell calls a method that has no reply.
func (c *child) tell(ctx context.Context, method string, args any) error {
	_, err := ask[None](ctx, c, method, args)
	return err
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// close ends the child and waits for it.
func (c *child) close() error {
	err := c.rpc.Close() // and with it the child's input
	kill := time.AfterFunc(stopWithin, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	return errors.Join(err, c.cmd.Wait())
}

// serveParent serves the exported methods of receiver to the process that started
// this one, until that closes the connection.
func serveParent(e *env, receiver any) error {
	server := rpc.NewServer()
	if err := server.RegisterName(service, receiver); err != nil {
		return err
	}
	server.ServeConn(duplex{e.in, e.out, io.NopCloser(nil)}) // the process ends anyway
	return nil
}

// A duplex is a connection made of two pipes.
type duplex struct {
	io.Reader
	io.Writer
	io.Closer
}

// None stands for the arguments or the reply of a method that has none.
type None struct{}
