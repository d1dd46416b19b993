import { ENDPOINT_SLICE, ENDPOINTS, type EndpointSlice, type Endpoints } from "../kube/index.ts";
import type { Kept } from "./bootstrap.ts";

/**
 * What is behind the service `kubernetes`: the address nodes and pods dial, which the apiserver itself does not listen on. None where that is
 * a loopback address, which endpoints may not have.
 */
export function serviceEndpoints({ address, port }: { readonly address: string; readonly port: number }): readonly Kept[] {
  if (address.startsWith("127.")) return [];
  const ports = [{ name: "https", port, protocol: "TCP" }];
  const metadata = { name: "kubernetes", namespace: "default" };
  const endpoints: Kept<Endpoints> = {
    kind: ENDPOINTS,
    object: {
      apiVersion: "v1",
      kind: "Endpoints",
      // the slice beside it is ours too: nobody needs to derive one
      metadata: { ...metadata, labels: { "endpointslice.kubernetes.io/skip-mirror": "true" } },
      subsets: [{ addresses: [{ ip: address }], ports }],
    },
  };
  const slice: Kept<EndpointSlice> = {
    kind: ENDPOINT_SLICE,
    object: {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { ...metadata, labels: { "kubernetes.io/service-name": "kubernetes" } },
      addressType: "IPv4",
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports,
    },
  };
  return [endpoints, slice];
}
