import dhcp from "dhcp";

/** The `dhcp` package's client, in a process of its own since a foreign packet can end it: prints the address it is bound to. */
const client = dhcp.createClient({ mac: process.argv[2] ?? "" });
client.on("error", (error) => console.error(error));
// its REQUEST leaves out the address it was offered (RFC 2131 §4.3.1 wants it) unless it stands in its state by then
client.on("message", (message) => {
  client._state.address = message.yiaddr;
});
client.on("bound", (state) => {
  console.log(JSON.stringify(state));
  process.exit(0);
});
client.on("listening", () => client.sendDiscover());
client.listen();
