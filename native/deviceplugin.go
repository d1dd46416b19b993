package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	resourceName = "nvidia.com/gpu"
	pluginSocket = "ironwright-simulated-gpu.sock"

	registrationTimeout = 5 * time.Second
	retryInterval       = 300 * time.Millisecond
	watchInterval       = time.Second
	inventoryInterval   = 10 * time.Second
)

// devicePlugin advertises NVIDIA's PCI functions to the kubelet without a driver behind them:
//
//	ironwright-native device-plugin [--kubelet-dir DIR] [--pci-dir DIR]
//
// It speaks the kubelet's device plugin API v1beta1 and registers again whenever the kubelet starts anew.
func devicePlugin(args []string) error {
	flags := flag.NewFlagSet("device-plugin", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "A SIMULATED NVIDIA device plugin: no driver, no GPU work; for virtual racks. Flags:")
		flags.PrintDefaults()
	}
	kubeletDir := flags.String("kubelet-dir", api.DevicePluginPath, "where the kubelet's socket is")
	pciDir := flags.String("pci-dir", "/sys/bus/pci/devices", "where the kernel lists PCI functions")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	log.SetFlags(0) // the journal has the time
	log.SetPrefix("simulated-gpu: ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	plugin := &simulatedPlugin{kubeletDir: *kubeletDir, pciDir: *pciDir}
	return plugin.run(ctx)
}

type simulatedPlugin struct {
	api.UnimplementedDevicePluginServer
	kubeletDir string
	pciDir     string
}

// run serves until the context ends: one round for each life of the kubelet.
func (p *simulatedPlugin) run(ctx context.Context) error {
	waiting := false
	for {
		kubelet, err := os.Stat(p.kubeletSocket())
		if err == nil {
			waiting = false
			err = p.serveKubelet(ctx, kubelet)
		} else if !waiting {
			waiting = true
			log.Printf("SIMULATED: waiting for the kubelet at %s, as long as it takes", p.kubeletSocket())
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			log.Printf("SIMULATED: %v; trying again", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryInterval):
		}
	}
}

func (p *simulatedPlugin) kubeletSocket() string { return filepath.Join(p.kubeletDir, "kubelet.sock") }
func (p *simulatedPlugin) ownSocket() string     { return filepath.Join(p.kubeletDir, pluginSocket) }

// serveKubelet registers with this kubelet and serves it until it is gone. A kubelet that starts removes every plugin's socket.
func (p *simulatedPlugin) serveKubelet(ctx context.Context, kubelet os.FileInfo) error {
	if err := os.Remove(p.ownSocket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", p.ownSocket())
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	defer server.Stop()

	if err := p.register(ctx); err != nil {
		return fmt.Errorf("the kubelet does not take the registration: %w", err)
	}
	gpus, _ := findGPUs(p.pciDir)
	log.Printf("SIMULATED: registered %d of %s with the kubelet", len(gpus), resourceName)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-time.After(watchInterval):
		}
		now, err := os.Stat(p.kubeletSocket())
		if err != nil || !os.SameFile(now, kubelet) {
			log.Print("SIMULATED: the kubelet is gone or new")
			return nil
		}
		if _, err := os.Stat(p.ownSocket()); err != nil {
			return nil
		}
	}
}

func (p *simulatedPlugin) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registrationTimeout)
	defer cancel()
	connection, err := grpc.NewClient("unix:"+p.kubeletSocket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = api.NewRegistrationClient(connection).Register(ctx, &api.RegisterRequest{
		Version:      api.Version,
		Endpoint:     pluginSocket,
		ResourceName: resourceName,
		Options:      &api.DevicePluginOptions{},
	})
	return err
}

// GetDevicePluginOptions: nothing optional is wanted.
func (p *simulatedPlugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch sends the devices at once and again whenever they change.
func (p *simulatedPlugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	var last []gpu
	for first := true; ; first = false {
		gpus, err := findGPUs(p.pciDir)
		if err != nil {
			return err
		}
		if first || !slices.Equal(gpus, last) {
			if err := stream.Send(&api.ListAndWatchResponse{Devices: asDevices(gpus)}); err != nil {
				return err
			}
			last = gpus
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-time.After(inventoryInterval):
		}
	}
}

func asDevices(gpus []gpu) []*api.Device {
	devices := make([]*api.Device, 0, len(gpus))
	for _, one := range gpus {
		device := &api.Device{ID: one.address, Health: api.Healthy}
		if one.node >= 0 {
			device.Topology = &api.TopologyInfo{Nodes: []*api.NUMANode{{ID: one.node}}}
		}
		devices = append(devices, device)
	}
	return devices
}

// Allocate tells each container which PCI functions it was given, and that they are simulated.
func (p *simulatedPlugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	gpus, err := findGPUs(p.pciDir)
	if err != nil {
		return nil, err
	}
	response := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		ids := container.DevicesIds
		for _, id := range ids {
			if !slices.ContainsFunc(gpus, func(one gpu) bool { return one.address == id }) {
				return nil, fmt.Errorf("%s is not a GPU of this server", id)
			}
		}
		list := strings.Join(ids, ",")
		response.ContainerResponses = append(response.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": list, "IRONWRIGHT_SIMULATED_GPU": list},
		})
		log.Printf("SIMULATED: allocated %s", list)
	}
	return response, nil
}

// PreStartContainer is never asked for.
func (p *simulatedPlugin) PreStartContainer(context.Context, *api.PreStartContainerRequest) (*api.PreStartContainerResponse, error) {
	return &api.PreStartContainerResponse{}, nil
}

// GetPreferredAllocation is never asked for.
func (p *simulatedPlugin) GetPreferredAllocation(context.Context, *api.PreferredAllocationRequest) (*api.PreferredAllocationResponse, error) {
	return &api.PreferredAllocationResponse{}, nil
}
