# A program as it might run in any pod: the AWS SDK for Ruby with nothing configured, save the address of STS, which it does
# not read from the environment. It says who STS says it is, at the start and again for each line of its input, with
# credentials that it fetches anew.
require 'aws-sdk-core'
require 'json'

def say
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  said =
    begin
      { arn: Aws::STS::Client.new(endpoint: ENV.fetch('AWS_ENDPOINT_URL_STS')).get_caller_identity.arn }
    rescue StandardError => e
      { error: "#{e.class}: #{e.message}" }
    end
  said[:tookMs] = (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started) * 1000
  puts JSON.generate(said)
  $stdout.flush
end

say
$stdin.each_line { say }
