<?php
// A worker for aint-queue: runs one job after the other, as long as its master lives.
// Copy this file, put your functions into $handlers, and name it: command = ["php", "worker.php"]

// Ends a job otherwise than by returning (done) or by another exception (tried again).
class Answer extends Exception { public function __construct(public array $frame) { parent::__construct(); } }

$handlers = [
    'send_mail' => function (array $job, array $payload): void {
        if (!str_contains($payload['to'], '@')) { // trying again is pointless
            throw new Answer(['type' => 'failed', 'error' => 'not an address', 'retry' => false]);
        }
        file_put_contents('outbox.txt', "$job[id] $payload[to]\n", FILE_APPEND); // in place of a mail server
    },
    'call_partner' => function (array $job, array $payload): void {
        if (file_exists('partner.lock')) { // not our turn: handed back, no attempt is counted
            throw new Answer(['type' => 'release', 'after_ms' => 100]);
        }
        if ($job['attempt'] === 1) { // it says when it has time again: tried again after so many milliseconds
            throw new Answer(['type' => 'failed', 'error' => 'the partner is busy', 'retry' => $payload['busy_ms']]);
        }
    },
    'write_report' => function (array $job, array $payload): void {
        say(['type' => 'log', 'run' => $job['run'], 'message' => "$payload[pages] pages to write"]);
        for ($page = 1; $page <= $payload['pages']; $page++) {
            check_cancelled($job);
            usleep(10_000);
            say(['type' => 'progress', 'run' => $job['run'], 'percent' => 100 * $page / $payload['pages']]);
        }
    },
];
set_error_handler(fn ($n, $text, $file, $line) => throw new ErrorException($text, 0, $n, $file, $line)); // warnings too
ini_set('default_socket_timeout', -1); // an idle worker waits for as long as there is nothing to do
[$master, $later] = [fopen('php://fd/' . getenv('AINT_QUEUE_FD'), 'r+'), []];
function say(array $f): void { fwrite($GLOBALS['master'], json_encode($f, JSON_INVALID_UTF8_SUBSTITUTE) . "\n"); }
function hear(): ?array { return json_decode((string) fgets($GLOBALS['master']), true); } // null: the master is gone

function check_cancelled(array $job): void // for long jobs to call; one that does not is killed when its time is up
{
    for ([$read, $none] = [[$GLOBALS['master']], null]; stream_select($read, $none, $none, 0) && $frame = hear();) {
        if ($frame['type'] === 'cancel' && $frame['run'] === $job['run']) {
            throw new Answer(['type' => 'failed', 'error' => 'cancelled']);
        }
        $GLOBALS['later'][] = $frame;
    }
}
say(['type' => 'hello', 'protocol' => 1, 'jobs' => array_keys($handlers)]);
while (($job = array_shift($later) ?? hear()) && $job['type'] !== 'stop') {
    if ($job['type'] !== 'run') continue; // a cancel that came too late
    $answer = ['type' => 'failed', 'error' => "no handler for $job[job]", 'unknown_job' => true];
    try {
        isset($handlers[$job['job']]) || throw new Answer($answer);
        $handlers[$job['job']]($job, $job['payload']);
        $answer = ['type' => 'done'];
    } catch (Throwable $error) {
        $answer = $error->frame ?? ['type' => 'failed', 'error' => substr($error, 0, 4096)];
    }
    say($answer + ['run' => $job['run']]);
}
