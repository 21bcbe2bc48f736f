//! Orders of a photo shop: a small but complete application. Start reading here, then follow an order through
//! `order.rs`; README.md has the picture.
//!
//! The program is the command line of aint-queue with the jobs of the shop: `orders queue:listen --all` runs them,
//! `orders queue:push place_order --data @order.json` places an order. In production, a web server pushes the order
//! with `aint_queue::Queue`.

#![expect(unreachable_pub, reason = "a binary has no public API; pub marks what modules use of each other")]

mod images;
mod invoices;
mod mails;
mod order;
mod shop;

use std::process::ExitCode;

use aint_queue::App;

fn main() -> ExitCode {
    App::new()
        // Created once per worker; commands such as queue:status do not create it.
        .state_with(shop::Shop::open)
        .async_job::<order::PlaceOrder>()
        .async_job::<order::CompleteOrder>()
        .job::<invoices::RenderInvoice>()
        .job::<images::ResizePicture>()
        .async_job::<mails::SendMail>()
        .run()
}
