<?php
/**
 * Pushes a job with phpredis. Copy this file and push.lua, and call push().
 *
 * Try it: php push.php default send_mail '{"to":"ann@example.com"}' '{"delay":5}'
 */
declare(strict_types=1);

/**
 * The head of push.lua lists the options.
 *
 * @return array{int, bool} the id of the job, and whether it is new; otherwise another job holds the unique key
 */
function push(Redis $redis, string $channel, string $job, mixed $payload, array $options = []): array
{
    static $script, $names;
    $script ??= file_get_contents(__DIR__ . '/push.lua');
    if (!$names) {
        preg_match('/local NAMES = {(.*?)}/s', $script, $list);
        preg_match_all("/'([\w:]+)'/", $list[1], $found);
        $names = $found[1];
    }
    $own = isset($options['unique']) ? ["unique:$options[unique]"] : [];
    $keys = array_map(fn ($name) => "aint-queue:{{$channel}}:$name", [...$names, ...$own]);
    $json = array_map(fn ($value) => json_encode($value, JSON_THROW_ON_ERROR), [$payload, (object) $options]);
    $arguments = [...$keys, $job, ...$json];
    // Send the hash, and the text only if the server does not know it yet.
    $reply = $redis->evalSha(sha1($script), $arguments, count($keys));
    if ($reply === false && str_starts_with($redis->getLastError() ?? '', 'NOSCRIPT')) {
        $redis->clearLastError();
        $reply = $redis->eval($script, $arguments, count($keys));
    }
    return $reply === false ? throw new RuntimeException($redis->getLastError()) : [$reply[0], $reply[1] === 1];
}

if (realpath($argv[0] ?? '') === __FILE__) {
    $url = parse_url(getenv('REDIS_URL') ?: 'redis://127.0.0.1:6379');
    $redis = new Redis();
    $redis->connect($url['host'], $url['port'] ?? 6379);
    [$id, $added] = push($redis, $argv[1], $argv[2], json_decode($argv[3], flags: JSON_THROW_ON_ERROR),
        json_decode($argv[4] ?? '{}', true, flags: JSON_THROW_ON_ERROR));
    echo $id, $added ? " is new\n" : " was there\n";
}
