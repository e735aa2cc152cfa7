//! A program as it might run in any pod: the AWS SDK for Rust with nothing configured. It says who STS says it is, at the
//! start and again for each line of its input, with credentials that it fetches anew.

use std::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    say().await;
    for _line in std::io::stdin().lines() {
        say().await;
    }
}

async fn say() {
    let started = Instant::now();
    let config = aws_config::load_from_env().await;
    let said = match aws_sdk_sts::Client::new(&config).get_caller_identity().send().await {
        Ok(identity) => format!("\"arn\": {:?}", identity.arn().unwrap_or_default()),
        Err(error) => format!("\"error\": {}", quoted(&chain(&error))),
    };
    println!("{{{said}, \"tookMs\": {}}}", started.elapsed().as_secs_f64() * 1000.0);
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(cause) => format!("{error}: {}", chain(cause)),
    }
}

fn quoted(text: &str) -> String {
    let escaped: String = text.chars().map(|letter| match letter {
        '"' => "\\\"".to_string(),
        '\\' => "\\\\".to_string(),
        letter if letter.is_control() => " ".to_string(),
        letter => letter.to_string(),
    }).collect();
    format!("\"{escaped}\"")
}
