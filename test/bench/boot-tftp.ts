import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { type BootPart, type BootPartOptions, listOf, median } from "./boot-part.ts";
import { type Peers, peers } from "./peers.ts";
import { type Contestant, cpuSecondsOfAll, layWire, peer, startBootProcess, type Wire } from "./wire.ts";

const SERVER = "10.77.0.1";
/** Each with an address of its own. */
const CLIENTS = 50;
const MEGABYTE = 2 ** 20;

interface Load {
  readonly name: string;
  readonly key: string;
  /** What all its clients fetch together, in bytes. */
  readonly bytes: number;
  run(): Promise<void>;
}

/** One client by curl and by atftp with windows, and 50 clients at once: ours beside the three TFTP servers of Debian, same files, same options. */
export async function benchTftp({ quick, say }: BootPartOptions): Promise<BootPart> {
  const large = (quick ? 8 : 64) * MEGABYTE;
  const [hpa, dnsmasq, atftp] = [await peers(["tftpd-hpa"]), await peers(["dnsmasq-base"]), await peers(["atftpd", "atftp"])];
  const wire = layWire("iw-bench-tftp", { here: `${SERVER}/24`, there: "10.77.0.254/24" });
  const figures: Record<string, number> = {};
  const ratios: Record<string, number> = {};
  const table = [["TFTP", "MB/s", "least", "most", "server CPU s per 100 MB"]];
  try {
    for (let at = 1; at <= CLIENTS; at++) execFileSync("ip", ["-n", wire.there, "addr", "add", `10.77.0.${100 + at}/24`, "dev", "eth0"]);
    const root = writeFiles(wire, large);
    const contestants = [
      peer("tftpd-hpa", wire, hpa, "in.tftpd", ["-L", "-4", "-a", `${SERVER}:69`, "-u", "root", "-s", root]),
      peer("dnsmasq", wire, dnsmasq, "dnsmasq", [
        ...["-k", "-p", "0", "-C", "/dev/null", "-i", "prov0", "--bind-interfaces", "--enable-tftp", `--tftp-root=${root}`],
        ...[
          "--tftp-max=100",
          "-u",
          "root",
          `--log-facility=${join(wire.directory, "dnsmasq.log")}`,
          `--pid-file=${join(wire.directory, "dnsmasq.pid")}`,
        ],
      ]),
      peer("atftpd", wire, atftp, "atftpd", [
        ...["--daemon", "--no-fork", "--port", "69", "--bind-address", SERVER, "--user", "root.root", "--maxthread", "100"],
        ...["--logfile", "/dev/null", root],
      ]),
      ours(wire, root),
    ];
    for (const load of loads(wire, atftp, large, quick)) {
      const best: Record<string, number> = {};
      // all of them in turn, several times: what else the machine does hits them alike
      const rates: Record<string, number[]> = {};
      const cpu: Record<string, number[]> = {};
      for (let time = 0; time < (quick ? 1 : 5); time++) {
        for (const { name, start } of contestants) {
          const server = await start();
          try {
            // what is in memory then stays there in a storm
            await load.run();
            const used = cpuSecondsOfAll(server.pid);
            const began = performance.now();
            await load.run();
            const seconds = (performance.now() - began) / 1000;
            // tftpd-hpa's children are counted when they have ended
            await wait(100);
            listOf(rates, name).push(load.bytes / 1e6 / seconds);
            listOf(cpu, name).push(((cpuSecondsOfAll(server.pid) - used) * 1e8) / load.bytes);
          } finally {
            await server.end();
          }
        }
      }
      for (const { name } of contestants) {
        const rate = median(rates[name] ?? []);
        best[name] = rate;
        figures[`${name} TFTP ${load.name} MB/s`] = Number(rate.toFixed(1));
        const all = rates[name] ?? [];
        const [least, most] = [Math.min(...all), Math.max(...all)];
        figures[`${name} TFTP ${load.name} MB/s least`] = Number(least.toFixed(1));
        figures[`${name} TFTP ${load.name} MB/s most`] = Number(most.toFixed(1));
        figures[`${name} TFTP ${load.name} CPU s per 100 MB`] = Number(median(cpu[name] ?? []).toFixed(2));
        table.push([`${name}, ${load.name}`, ...[rate, least, most].map((one) => one.toFixed(1)), median(cpu[name] ?? []).toFixed(2)]);
        say(`${name} ${load.name}: ${rate.toFixed(1)} MB/s of ${all.map((one) => one.toFixed(0)).join(" ")}`);
      }
      const { Ironwright: own = 0, ...others } = best;
      ratios[`tftp ${load.key}`] = own / Math.max(...Object.values(others));
    }
    ratios.tftp = Math.min(...Object.values(ratios));
    return { ratios, figures, table };
  } finally {
    wire.remove();
  }
}

function loads(wire: Wire, atftp: Peers, large: number, quick: boolean): Load[] {
  const target = "/dev/shm";
  const local = join(target, `iw-bench-tftp-${process.pid}`);
  const curl = (block: number, file: string, bytes: number): Load => ({
    name: `curl, blksize ${block}`,
    key: `blksize ${block}`,
    bytes,
    run: () =>
      fetch(
        wire,
        "curl",
        ["-s", "--max-time", "120", "--tftp-blksize", String(block), "-o", local, `tftp://${SERVER}/${file}`],
        local,
        bytes,
      ),
  });
  return [
    curl(512, "middle.efi", large / 4),
    curl(1468, "large.efi", large),
    {
      name: "atftp, blksize 1468, windowsize 16",
      key: "windowsize 16",
      bytes: large,
      run: () =>
        fetch(
          wire,
          atftp.program("atftp"),
          ["--option", "blksize 1468", "--option", "windowsize 16", "-g", "-r", "large.efi", "-l", local, SERVER],
          local,
          large,
          atftp.env,
        ),
    },
    ...[512, 1432].map((block): Load => {
      const clients = quick ? 10 : CLIENTS;
      const script = `for i in $(seq ${clients}); do curl -s --interface 10.77.0.$((100 + i)) --max-time 60 --tftp-blksize ${block} -o ${local}-$i tftp://${SERVER}/small.efi & done; wait
        cat ${local}-* | wc -c; rm -f ${local}-*`;
      return {
        name: `${clients} of 1 MB at once, blksize ${block}`,
        key: `many, blksize ${block}`,
        bytes: clients * MEGABYTE,
        async run() {
          const out = await output(wire, "sh", ["-c", script]);
          if (Number(out) !== clients * MEGABYTE) throw new Error(`${clients} clients got ${out.trim()} bytes together`);
        },
      };
    }),
  ];
}

async function fetch(wire: Wire, program: string, args: string[], local: string, bytes: number, env?: Readonly<Record<string, string>>) {
  rmSync(local, { force: true });
  const text = await output(wire, program, args, env);
  const got = existsSync(local) ? statSync(local).size : 0;
  rmSync(local, { force: true });
  if (got !== bytes) throw new Error(`${program} got ${got} of ${bytes} bytes: ${text}`);
}

async function output(wire: Wire, program: string, args: string[], env?: Readonly<Record<string, string>>): Promise<string> {
  const child = wire.start(wire.there, program, args, env);
  let text = "";
  child.stdout?.on("data", (part) => (text += part));
  await new Promise((resolve, reject) => child.once("error", reject).once("close", resolve));
  return text;
}

function writeFiles(wire: Wire, large: number): string {
  const root = join(wire.directory, "root");
  mkdirSync(root, { mode: 0o755 });
  const bytes = Buffer.alloc(large);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
  writeFileSync(join(root, "large.efi"), bytes);
  writeFileSync(join(root, "middle.efi"), bytes.subarray(0, large / 4));
  writeFileSync(join(root, "small.efi"), bytes.subarray(0, MEGABYTE));
  return root;
}

function ours(wire: Wire, root: string): Contestant {
  return {
    name: "Ironwright",
    start() {
      const at = { name: "prov0", address: `${SERVER}/24`, mode: "reservation", routerAdvertisements: false } as const;
      const assets = { pxeDir: root, kernel: join(root, "small.efi"), initrd: join(root, "small.efi") };
      return startBootProcess(wire, { interfaces: [{ ...at, pool: { from: "10.77.0.10", to: "10.77.0.99" } }], assets });
    },
  };
}
