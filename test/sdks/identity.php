<?php
// A program as it might run in any pod: AsyncAws with nothing configured, save the address of STS, which it does not read from
// the environment. It says who STS says it is, at the start and again for each line of its input, with credentials that it
// fetches anew.
require 'AsyncAws/Core/autoload.php';
require 'Symfony/Component/HttpClient/autoload.php';

function say(): void
{
    $started = microtime(true);
    try {
        $client = new AsyncAws\Core\Sts\StsClient(['endpoint' => getenv('AWS_ENDPOINT_URL_STS')]);
        $said = ['arn' => $client->getCallerIdentity()->getArn()];
    } catch (Throwable $error) {
        $said = ['error' => get_class($error) . ': ' . $error->getMessage()];
    }
    echo json_encode($said + ['tookMs' => (microtime(true) - $started) * 1000]), "\n";
}

say();
while (fgets(STDIN) !== false) {
    say();
}
