<?php
// Receives webhooks: WEBHOOK_SECRET=whsec_… php -S 127.0.0.1:PORT receiver.php
$body = file_get_contents('php://input'); // verify the raw body before parsing it
$key = base64_decode(substr(getenv('WEBHOOK_SECRET'), strlen('whsec_')));
$id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
$at = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
$expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$at.$body", $key, true));

$verified = false;
foreach (explode(' ', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $sent) {
    $verified = hash_equals($expected, $sent) || $verified;
}
if (!$verified || !ctype_digit($at) || abs(time() - (int) $at) > 300) {
    http_response_code(401); // final: a retry would carry the same signature
    return;
}
// The id is the same in every attempt: store it, and skip jobs that are already done.
error_log("$id {$_SERVER['HTTP_AINT_QUEUE_JOB']} " . json_encode(json_decode($body)));
http_response_code(204);
