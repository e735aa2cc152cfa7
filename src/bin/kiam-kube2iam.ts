import { main } from './main.ts';

// Its arguments are kube2iam's, without a command; `help` alone is one.
await main({ kube2iam: async (command) => (await import('./kube2iam.ts')).runKube2iam(command) }, [
  'kube2iam',
  ...process.argv.slice(2),
]);
