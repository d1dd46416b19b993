import { STAGE } from "./stage.ts";

/** What to type at the checkout to look around in a demo that is left running. */
export function lookAround(kubectl: string): string {
  return `  export IRONWRIGHT_KUBECONFIG=${STAGE.kubeconfig}
  bin/ironwright get machines
  bin/ironwright describe machine bios-1
  bin/ironwright kubeconfig acme > ${STAGE.tenantKubeconfig}
  ${kubectl} --kubeconfig ${STAGE.tenantKubeconfig} get nodes,pods -o wide
  less ${STAGE.daemonLog}`;
}
