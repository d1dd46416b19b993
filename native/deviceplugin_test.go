package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const deadline = 20 * time.Second

// kubelet is the part of a kubelet that device plugins see, on a socket of its own.
type kubelet struct {
	api.UnimplementedRegistrationServer
	server     *grpc.Server
	registered chan *api.RegisterRequest
}

func (k *kubelet) Register(_ context.Context, request *api.RegisterRequest) (*api.Empty, error) {
	k.registered <- request
	return &api.Empty{}, nil
}

// startKubelet does as a kubelet does when it starts: it removes every plugin's socket and opens its own.
func startKubelet(t *testing.T, dir string) *kubelet {
	t.Helper()
	for _, name := range []string{pluginSocket, "kubelet.sock"} {
		os.Remove(filepath.Join(dir, name))
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "kubelet.sock"))
	if err != nil {
		t.Fatal(err)
	}
	k := &kubelet{server: grpc.NewServer(), registered: make(chan *api.RegisterRequest, 8)}
	api.RegisterRegistrationServer(k.server, k)
	go k.server.Serve(listener)
	t.Cleanup(k.server.Stop)
	return k
}

func (k *kubelet) awaitRegistration(t *testing.T) *api.RegisterRequest {
	t.Helper()
	select {
	case request := <-k.registered:
		return request
	case <-time.After(deadline):
		t.Fatal("no registration came")
		return nil
	}
}

// startPlugin runs the plugin over two simulated GPUs until the test ends.
func startPlugin(t *testing.T) (kubeletDir string) {
	t.Helper()
	// not t.TempDir: a socket's path has at most 107 bytes
	dir, err := os.MkdirTemp("", "plugin")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	plugin := &simulatedPlugin{kubeletDir: dir, pciDir: rackOfTwo(t)}
	go func() { ended <- plugin.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the plugin ended with %v", err)
		}
		os.RemoveAll(dir)
	})
	return dir
}

func dialPlugin(t *testing.T, dir string) api.DevicePluginClient {
	t.Helper()
	connection, err := grpc.NewClient("unix:"+filepath.Join(dir, pluginSocket), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return api.NewDevicePluginClient(connection)
}

func TestThePluginRegistersAndListsTheGPUs(t *testing.T) {
	dir := startPlugin(t)
	request := startKubelet(t, dir).awaitRegistration(t)
	if request.ResourceName != "nvidia.com/gpu" || request.Version != "v1beta1" || request.Endpoint != pluginSocket {
		t.Fatalf("registered as %v", request)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	stream, err := dialPlugin(t, dir).ListAndWatch(ctx, &api.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Devices) != 2 || list.Devices[0].ID != "0000:41:00.0" || list.Devices[0].Health != api.Healthy {
		t.Fatalf("devices %v", list.Devices)
	}
}

func TestANewKubeletIsRegisteredWithAgain(t *testing.T) {
	dir := startPlugin(t)
	first := startKubelet(t, dir)
	first.awaitRegistration(t)
	first.server.Stop()
	startKubelet(t, dir).awaitRegistration(t)
}

func TestAContainerIsToldItsGPUsAndThatTheyAreSimulated(t *testing.T) {
	dir := startPlugin(t)
	startKubelet(t, dir).awaitRegistration(t)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	client := dialPlugin(t, dir)
	allocate := func(ids ...string) (*api.AllocateResponse, error) {
		return client.Allocate(ctx, &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{{DevicesIds: ids}}})
	}
	response, err := allocate("0000:81:00.0")
	if err != nil {
		t.Fatal(err)
	}
	environment := response.ContainerResponses[0].Envs
	if environment["NVIDIA_VISIBLE_DEVICES"] != "0000:81:00.0" || environment["IRONWRIGHT_SIMULATED_GPU"] != "0000:81:00.0" {
		t.Errorf("environment %v", environment)
	}
	if _, err := allocate("0000:99:00.0"); err == nil {
		t.Error("a GPU that is not there was allocated")
	}
}
