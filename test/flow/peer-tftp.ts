import tftp from "tftp";

/** The `tftp` package's client, in a process of its own since a foreign packet can end it: fetches one file. */
const [host = "", remote = "", local = "", options = "{}"] = process.argv.slice(2);
const client = tftp.createClient({ host, port: 69, ...JSON.parse(options) });
client.get(remote, local, (error) => {
  if (error) console.error(error);
  process.exit(error ? 1 : 0);
});
