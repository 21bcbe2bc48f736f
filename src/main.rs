fn main() {
    if std::env::args_os().nth(1).is_some_and(|first| first == aint_queue::guardian::ARGUMENT) {
        aint_queue::guardian::process_main();
    }
}
