<?php
// Receives webhooks: WEBHOOK_SECRET=whsec_… php -S 127.0.0.1:PORT receiver.php
$body = file_get_contents('php://input'); // as it came: verify before it is parsed
$key = base64_decode(substr(getenv('WEBHOOK_SECRET'), strlen('whsec_')));
$id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
$at = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
$ours = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$at.$body", $key, true));

$verified = false;
foreach (explode(' ', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $sent) {
    $verified = hash_equals($ours, $sent) || $verified;
}
if (!$verified || !ctype_digit($at) || abs(time() - (int) $at) > 300) {
    http_response_code(401); // final: another attempt would not be signed better
    return;
}
// The id is the same in every attempt: remember it, and do nothing for one that is done.
error_log("$id {$_SERVER['HTTP_AINT_QUEUE_JOB']} " . json_encode(json_decode($body)));
http_response_code(204);
