<?php
/**
 * A job of aint-queue as a program: the payload on standard input, the rest in the environment, the exit status says
 * how it ended. What it writes to standard error is kept as the job's error.
 *
 * Copy this file and name it: command = ["php", "report.php"]
 */
declare(strict_types=1);

const TRY_LATER = 75;
const NEVER = 65;

ini_set('display_errors', 'stderr'); // an uncaught exception: its text is the error, its status is 255

$input = stream_get_contents(STDIN);
$payload = json_decode($input, true, flags: JSON_THROW_ON_ERROR);

if (!isset($payload['month'])) {
    fwrite(STDERR, "no month in $input\n");
    exit(NEVER); // failed for good: trying again is pointless
}

if (file_exists('books.open')) {
    exit(TRY_LATER); // handed back for a second, no attempt is counted
}

// Any other status is an error that is tried again by the channel's policy.
if (!file_put_contents('reports.txt', getenv('AINT_QUEUE_JOB_ID') . " $payload[month]\n", FILE_APPEND)) {
    throw new RuntimeException('could not write reports.txt');
}
echo 'attempt ', getenv('AINT_QUEUE_ATTEMPT'), ' of ', getenv('AINT_QUEUE_JOB'), " is done\n";
