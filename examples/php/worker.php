<?php
// A worker for aint-queue: runs one job at a time until its master stops it.
// Copy this file, add your functions to $handlers, and configure: command = ["php", "worker.php"]

// Ends a job with a frame of its own. A normal return is done; other exceptions are retried.
class Outcome extends Exception { public function __construct(public array $frame) { parent::__construct(); } }

$handlers = [
    'send_mail' => function (array $job, array $payload): void {
        if (!str_contains($payload['to'], '@')) { // final: a retry would not help
            throw new Outcome(['type' => 'failed', 'error' => 'not an address', 'retry' => false]);
        }
        file_put_contents('outbox.txt', "$job[id] $payload[to]\n", FILE_APPEND); // replaces a mail server
    },
    'call_partner' => function (array $job, array $payload): void {
        if (file_exists('partner.lock')) { // partner in use: release the job, no attempt is counted
            throw new Outcome(['type' => 'release', 'after_ms' => 100]);
        }
        if ($job['attempt'] === 1) { // the partner names a time: retry after that many milliseconds
            throw new Outcome(['type' => 'failed', 'error' => 'the partner is busy', 'retry' => $payload['busy_ms']]);
        }
    },
    'write_report' => function (array $job, array $payload): void {
        send(['type' => 'log', 'run' => $job['run'], 'message' => "$payload[pages] pages to write"]);
        for ($page = 1; $page <= $payload['pages']; $page++) {
            check_cancelled($job);
            usleep(10_000);
            send(['type' => 'progress', 'run' => $job['run'], 'percent' => 100 * $page / $payload['pages']]);
        }
    },
];
set_error_handler(fn ($n, $text, $file, $line) => throw new ErrorException($text, 0, $n, $file, $line)); // warnings too
ini_set('default_socket_timeout', -1); // an idle worker waits without a limit
[$master, $pending] = [fopen('php://fd/' . getenv('AINT_QUEUE_FD'), 'r+'), []];
const SAFE = JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR; // text that is not valid UTF-8 becomes U+FFFD
function send(array $frame): void { fwrite($GLOBALS['master'], json_encode($frame, SAFE) . "\n"); }
function receive(): ?array // null: the master is gone
{
    if (!str_ends_with($line = (string) fgets($GLOBALS['master']), "\n")) return null; // perhaps within a frame
    return json_decode($line, true) ?? exit_with('unreadable frame (' . json_last_error_msg() . '): ' . substr($line, 0, 200));
}
function exit_with(string $message): never { fwrite(STDERR, "$message\n"); exit(1); }

function check_cancelled(array $job): void // long jobs call this; without it the worker is killed at the time limit
{
    for ([$read, $none] = [[$GLOBALS['master']], null]; stream_select($read, $none, $none, 0) && $frame = receive();) {
        if ($frame['type'] === 'cancel' && $frame['run'] === $job['run']) {
            throw new Outcome(['type' => 'failed', 'error' => 'cancelled']);
        }
        $GLOBALS['pending'][] = $frame;
    }
}
send(['type' => 'hello', 'protocol' => 1, 'jobs' => array_keys($handlers)]);
while (($job = array_shift($pending) ?? receive()) && $job['type'] !== 'stop') {
    if ($job['type'] !== 'run') continue; // a cancel that arrived just after its job ended
    $outcome = ['type' => 'failed', 'error' => "unknown job $job[job]", 'unknown_job' => true];
    try {
        isset($handlers[$job['job']]) || throw new Outcome($outcome);
        $handlers[$job['job']]($job, $job['payload']);
        $outcome = ['type' => 'done'];
    } catch (Throwable $error) {
        $outcome = $error->frame ?? ['type' => 'failed', 'error' => substr($error, 0, 4096)];
    }
    send($outcome + ['run' => $job['run']]);
}
