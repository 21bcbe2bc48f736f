<?php
// Pushes jobs over HTTP:  php push.php ann@example.com
// Copy push_job() into your application. AINT_QUEUE_URL: address of the master. AINT_QUEUE_HTTP_TOKEN: its token.

/** Pushes one job, or a list of jobs. Returns ['id' => …, 'added' => …], or a list of them. */
function push_job(string $channel, array $job): array
{
    $url = (getenv('AINT_QUEUE_URL') ?: 'http://127.0.0.1:9465') . '/channels/' . rawurlencode($channel) . '/jobs';
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => ['Content-Type: application/json', 'Authorization: Bearer ' . getenv('AINT_QUEUE_HTTP_TOKEN')],
        'content' => json_encode($job, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE),
        'timeout' => 10,
        'ignore_errors' => true,  // the response body explains an error
    ]]);
    for ($try = 1; ; $try++) {
        $http_response_header = null;
        $response = @file_get_contents($url, false, $context);
        $status = $response === false ? 0 : (int) explode(' ', $http_response_header[0])[1];
        if ($status === 200 || $status === 201) {
            return json_decode($response, true, 512, JSON_THROW_ON_ERROR);
        }
        // No connection, or the store is unavailable: retry. A unique key keeps a retry from adding the job twice.
        if (($status !== 0 && $status !== 503) || $try === 10) {
            throw new RuntimeException("could not push: status $status, $response");
        }
        sleep(1);
    }
}

$to = $argv[1];
$welcome = ['job' => 'send_mail', 'payload' => ['to' => $to], 'unique' => "welcome-$to", 'unique_for' => '1d'];
echo push_job('mail', $welcome)['id'], "\n";
$later = ['job' => 'send_mail', 'payload' => ['to' => $to, 'text' => 'Schöne Grüße'], 'delay' => '1d', 'priority' => 'low'];
echo implode(' ', array_column(push_job('mail', [$later, $later]), 'id')), "\n";
