//! A photo shop's orders: a small application as a team would write it. Start reading here, then follow an order through
//! `order.rs`; README.md has the picture.
//!
//! This program is the whole command line of aint-queue with the shop's jobs inside: `orders queue:listen --all` runs
//! them, `orders queue:push place_order --data @order.json` places an order. In a shop, the web server would do that
//! with `aint_queue::Queue`.

#![expect(unreachable_pub, reason = "a program has no outside; pub says what its modules use of each other")]

mod images;
mod invoices;
mod mails;
mod order;
mod shop;

use std::process::ExitCode;

use aint_queue::App;

fn main() -> ExitCode {
    App::new()
        // Made once in every worker, and not when somebody only wants to see the counts.
        .state_with(shop::Shop::open)
        .async_job::<order::PlaceOrder>()
        .async_job::<order::CompleteOrder>()
        .job::<invoices::RenderInvoice>()
        .job::<images::ResizePicture>()
        .async_job::<mails::SendMail>()
        .run()
}
