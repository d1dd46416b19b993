import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Peers } from "../bench/peers.ts";
import type { TestNetwork } from "./boot-network.ts";

/** What a DHCP client says it was given. */
export interface Lease {
  readonly address: string;
  readonly bootFile: string;
  readonly nextServer: string;
  /** Who gave the address: option 54. */
  readonly server: string;
  readonly hostname: string;
  readonly router: string;
}

/** How a client presents itself: as a boot ROM of this architecture, or as a plain host. */
export interface Asking {
  readonly vendorClass?: string;
  /** Option 93. */
  readonly arch?: number;
}

export interface DhcpClient {
  readonly name: string;
  /** One run in a namespace with the NIC `eth0`, to its lease. */
  lease(namespace: string, asking?: Asking): Promise<Lease>;
}

/** DHCP clients of other projects; each tells a script of ours what it was given. */
export function dhcpClients(
  network: TestNetwork,
  peers: Peers | undefined,
  directory: string,
): Readonly<Record<"udhcpc" | "dhclient" | "dhcpcd", DhcpClient>> {
  const script = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, `#!/bin/sh\n${text}\nexit 0\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const udhcpcScript = script("udhcpc.sh", '[ "$1" = bound ] && echo "lease|$ip|$boot_file|$siaddr|$serverid|$hostname|$router"');
  const out = join(directory, "lease");
  const dhclientScript = script(
    "dhclient.sh",
    `case $reason in BOUND|RENEW|REBIND|REBOOT) echo "lease|$new_ip_address|\${new_filename:-$new_bootfile_name}|$new_next_server|$new_dhcp_server_identifier|$new_host_name|$new_routers" > ${out} ;; esac`,
  );
  const dhcpcdScript = script(
    "dhcpcd.sh",
    `case $reason in BOUND|RENEW|REBIND|REBOOT) echo "lease|$new_ip_address|\${new_filename:-$new_bootfile_name}||$new_dhcp_server_identifier|$new_host_name|$new_routers" > ${out} ;; esac`,
  );
  let runs = 0;
  const foreign = (): Peers => {
    if (!peers) throw new Error("this test unpacked no peers");
    return peers;
  };

  return {
    udhcpc: {
      name: "udhcpc (busybox)",
      async lease(namespace, { vendorClass, arch } = {}) {
        const asks = [...(vendorClass ? ["-V", vendorClass] : []), ...(arch === undefined ? [] : ["-x", `0x5d:${word(arch)}`])];
        const wants = ["bootfile", "hostname", "router"].flatMap((option) => ["-O", option]);
        const said = await network.run(namespace, [
          "busybox",
          "udhcpc",
          "-i",
          "eth0",
          "-n",
          "-q",
          "-f",
          "-t",
          "5",
          "-T",
          "1",
          "-s",
          udhcpcScript,
          ...wants,
          ...asks,
        ]);
        return leaseIn(said);
      },
    },
    dhclient: {
      name: "ISC dhclient",
      async lease(namespace, { vendorClass, arch } = {}) {
        const files = [0, 1, 2].map((at) => join(directory, `dhclient.${runs}.${["conf", "leases", "pid"][at]}`));
        const [config = "", leases = "", pid = ""] = files;
        runs += 1;
        writeFileSync(
          config,
          [
            "timeout 20; retry 1; initial-interval 1; backoff-cutoff 2;",
            "option arch code 93 = unsigned integer 16;",
            "request subnet-mask, routers, host-name, tftp-server-name, bootfile-name;",
            ...(vendorClass ? [`send vendor-class-identifier "${vendorClass}";`] : []),
            ...(arch === undefined ? [] : [`send arch ${arch};`]),
          ].join("\n"),
        );
        writeFileSync(out, "");
        const { program, env } = foreign();
        const common = [program("dhclient"), "-4", "-cf", config, "-lf", leases, "-pf", pid, "-sf", dhclientScript];
        await network.run(namespace, [...common, "-1", "eth0"], { env });
        // it stays behind as a daemon; -r ends it with a RELEASE
        await network.run(namespace, [...common, "-r", "eth0"], { env });
        return leaseIn(await network.run(namespace, ["cat", out]));
      },
    },
    dhcpcd: {
      name: "dhcpcd",
      async lease(namespace, { vendorClass, arch } = {}) {
        const config = join(directory, "dhcpcd.conf");
        writeFileSync(
          config,
          [
            "define 93 uint16 architecture",
            "option host_name, routers, bootfile_name, tftp_server_name",
            "noipv6rs\nnoarp\nnolink",
            ...(vendorClass ? [`vendorclassid ${vendorClass}`] : []),
          ].join("\n"),
        );
        if (arch !== undefined) throw new Error("dhcpcd cannot be told to send option 93");
        writeFileSync(out, "");
        // it keeps its identity and its socket in places of its own, which are nobody's business outside this run
        const hidden = 'mount -t tmpfs none /run && mount -t tmpfs none /var/lib && mkdir -p /var/lib/dhcpcd /run/dhcpcd && exec "$@"';
        const { program, env } = foreign();
        const command = [program("dhcpcd"), "-4", "-1", "-B", "-t", "20", "-f", config, "-c", dhcpcdScript, "eth0"];
        await network.run(namespace, ["sh", "-c", hidden, "sh", ...command], { env });
        return leaseIn(await network.run(namespace, ["cat", out]));
      },
    },
  };
}

/** Exchanges of the relay-like load generator: what was sent and what came back, DISCOVER to ACK. */
export async function perfdhcp(
  network: TestNetwork,
  peers: Peers,
  namespace: string,
  server: string,
): Promise<{ sent: number; received: number }[]> {
  const command = [peers.program("perfdhcp"), "-4", "-l", "eth0", "-r", "100", "-R", "50", "-n", "200", "-W", "500000", server];
  const said = await network.run(namespace, command, { env: peers.env });
  return [...said.matchAll(/sent packets: (\d+)\s+received packets: (\d+)/g)].map(([, sent, received]) => ({
    sent: Number(sent),
    received: Number(received),
  }));
}

function leaseIn(said: string): Lease {
  const line = said.split("\n").find((one) => one.startsWith("lease|"));
  if (line === undefined) throw new Error(`no lease: ${said}`);
  const [, address = "", bootFile = "", nextServer = "", server = "", hostname = "", router = ""] = line.split("|");
  return { address, bootFile, nextServer, server, hostname, router };
}

function word(value: number): string {
  return value.toString(16).padStart(4, "0");
}
