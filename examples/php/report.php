<?php
/**
 * A job of aint-queue as a program: the payload is on standard input, other data in the environment, and the exit
 * status is the outcome. Standard error becomes the error of the job.
 *
 * Copy this file and configure: command = ["php", "report.php"]
 */
declare(strict_types=1);

const RELEASE = 75;
const FINAL_FAILURE = 65;

ini_set('display_errors', 'stderr'); // an uncaught exception: its text is the error, its status is 255

$input = stream_get_contents(STDIN);
$payload = json_decode($input, true, flags: JSON_THROW_ON_ERROR);

if (!isset($payload['month'])) {
    fwrite(STDERR, "no month in $input\n");
    exit(FINAL_FAILURE); // failed for good: a retry would not help
}

if (file_exists('books.open')) {
    exit(RELEASE); // released for one second, no attempt is counted
}

// Any other status is an error, retried by the policy of the channel.
if (!file_put_contents('reports.txt', getenv('AINT_QUEUE_JOB_ID') . " $payload[month]\n", FILE_APPEND)) {
    throw new RuntimeException('could not write reports.txt');
}
[$attempt, $attempts] = [getenv('AINT_QUEUE_ATTEMPT'), getenv('AINT_QUEUE_MAX_ATTEMPTS')];
echo "attempt $attempt of $attempts of ", getenv('AINT_QUEUE_JOB'), " is done\n";
