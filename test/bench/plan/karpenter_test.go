//go:build test_performance

// Compiled inside a scratch copy of Karpenter's own package of scheduling benchmarks, whose generators of pods it uses.
// It runs one of the scenarios of `npm run bench -- plan` and writes what it was given and what came of it, so that the
// other planner can be given the very same pods.
package scheduling_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	fakecr "sigs.k8s.io/controller-runtime/pkg/client/fake"

	v1 "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/cloudprovider"
	"sigs.k8s.io/karpenter/pkg/cloudprovider/fake"
	"sigs.k8s.io/karpenter/pkg/controllers/provisioning/scheduling"
	"sigs.k8s.io/karpenter/pkg/controllers/state"
	"sigs.k8s.io/karpenter/pkg/events"
	"sigs.k8s.io/karpenter/pkg/operator/injection"
	"sigs.k8s.io/karpenter/pkg/operator/options"
	"sigs.k8s.io/karpenter/pkg/test"
)

type scenarioType struct {
	Name        string              `json:"name"`
	Allocatable corev1.ResourceList `json:"allocatable"`
	Price       float64             `json:"price"`
}

type scenarioResult struct {
	WallSeconds float64 `json:"wallSeconds"`
	CPUSeconds  float64 `json:"cpuSeconds"`
	PeakMiB     float64 `json:"peakMiB"`
	NewNodes    int     `json:"newNodes"`
	Placed      int     `json:"placed"`
	Failed      int     `json:"failed"`
}

type scenario struct {
	Types  []scenarioType `json:"types"`
	Zones  []string       `json:"zones"`
	Nodes  []*corev1.Node `json:"nodes"`
	Pods   []*corev1.Pod  `json:"pods"`
	Result scenarioResult `json:"result"`
}

// IRONWRIGHT_SCENARIO is KIND:PODS:TYPES:NODES:PREFERENCES, IRONWRIGHT_OUT a file.
func TestIronwrightScenario(t *testing.T) {
	parts := strings.Split(os.Getenv("IRONWRIGHT_SCENARIO"), ":")
	if len(parts) != 5 {
		t.Skip("no scenario asked for")
	}
	count, types, nodes := number(t, parts[1]), number(t, parts[2]), number(t, parts[3])
	pods := podsOf(t, parts[0], count)
	made := scenario{Pods: pods, Zones: []string{"test-zone-1", "test-zone-2", "test-zone-3"}}

	ctx := options.ToContext(injection.WithControllerName(context.Background(), "provisioner"), test.Options())
	pool := test.NodePool(v1.NodePool{Spec: v1.NodePoolSpec{Limits: v1.Limits{
		corev1.ResourceCPU:    resource.MustParse("10000000"),
		corev1.ResourceMemory: resource.MustParse("10000000Gi"),
	}}})
	provider := fake.NewCloudProvider()
	instanceTypes := fake.InstanceTypes(types)
	provider.InstanceTypes = instanceTypes
	for _, one := range instanceTypes {
		made.Types = append(made.Types, scenarioType{Name: one.Name, Allocatable: one.Allocatable(), Price: one.Offerings[0].Price})
	}
	var existing []*state.StateNode
	for i := range nodes {
		node := nodeOf(i, instanceTypes[len(instanceTypes)-1], made.Zones[i%len(made.Zones)])
		made.Nodes = append(made.Nodes, node)
		one := state.NewNode()
		one.Node = node
		existing = append(existing, one)
	}

	client := fakecr.NewFakeClient()
	cluster := state.NewCluster(&clock.RealClock{}, client, provider)
	byPool := map[string][]*cloudprovider.InstanceType{pool.Name: instanceTypes}
	opts := []scheduling.Options{scheduling.NumConcurrentReconciles(5)}
	if parts[4] == "ignore" {
		opts = append(opts, scheduling.IgnorePreferences)
	}

	topology, err := scheduling.NewTopology(ctx, client, cluster, existing, []*v1.NodePool{pool}, byPool, pods, opts...)
	if err != nil {
		t.Fatal(err)
	}
	scheduler := scheduling.NewScheduler(ctx, client, []*v1.NodePool{pool}, cluster, existing, topology, byPool, nil,
		events.NewRecorder(&record.FakeRecorder{}), &clock.RealClock{}, nil, nil, opts...)
	// as its own benchmark does: the solution alone
	began, before := time.Now(), cpuSeconds(t)
	results, err := scheduler.Solve(ctx, pods)
	if err != nil {
		t.Fatal(err)
	}
	made.Result = scenarioResult{
		WallSeconds: time.Since(began).Seconds(),
		CPUSeconds:  cpuSeconds(t) - before,
		PeakMiB:     peakMiB(t),
		NewNodes:    len(results.NewNodeClaims),
		Placed:      len(pods) - len(results.PodErrors),
		Failed:      len(results.PodErrors),
	}
	text, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(os.Getenv("IRONWRIGHT_OUT"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func podsOf(t *testing.T, kind string, count int) []*corev1.Pod {
	switch kind {
	case "diverse":
		return makeDiversePods(count)
	case "preferences":
		return makePreferencePods(count)
	case "plain":
		return makeGenericPods(count)
	}
	t.Fatalf("unknown kind of pods %q", kind)
	return nil
}

func nodeOf(i int, of *cloudprovider.InstanceType, zone string) *corev1.Node {
	name := fmt.Sprintf("node-%04d", i)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname:           name,
			corev1.LabelTopologyZone:       zone,
			corev1.LabelInstanceTypeStable: of.Name,
			corev1.LabelArchStable:         "amd64",
			corev1.LabelOSStable:           "linux",
			v1.NodeRegisteredLabelKey:      "true",
			v1.NodeInitializedLabelKey:     "true",
		}},
		Spec:   corev1.NodeSpec{ProviderID: "fake:///" + name},
		Status: corev1.NodeStatus{Capacity: of.Capacity, Allocatable: of.Allocatable()},
	}
}

func number(t *testing.T, text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func cpuSeconds(t *testing.T) float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// The most memory the process ever held, VmHWM of proc(5).
func peakMiB(t *testing.T) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			return float64(number(t, fields[1])) / 1024
		}
	}
	t.Fatal("no VmHWM in /proc/self/status")
	return 0
}
