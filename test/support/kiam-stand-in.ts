// In place of Kiam's own program where that is not available: its contract of three calls and its ways, and nothing of
// ours beyond them. The work behind is done by our daemons, whose bundles are the first two arguments.
const [agentBundle = '', serverBundle = ''] = process.argv.splice(2, 2);
const command = process.argv[2];

if (command === 'server') {
  const { startKiamsCalls } = await import('./kiam-stand-in-server.ts');
  await startKiamsCalls();
}
// Kiam asks the server for every request, and removes its redirect when it ends.
if (command === 'agent') process.argv.push('--node-store=false', '--iptables-remove');
await import(command === 'agent' ? agentBundle : serverBundle);
